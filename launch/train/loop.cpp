#include "launch/train/loop.h"

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>

#include "launch/train/flops.h"
#include "launch/train/saving.h"
#include "launch/train/train_step.h"
#include "launch/train/validation.h"
#include "runtime/comm/agreement.h"
#include "runtime/device/memory.h"

namespace switchyard {
namespace {

bool is_due(int64_t step, int64_t every) {
  return every > 0 && step % every == 0;
}

void warn(Console* console, const std::string& where, const std::string& what) {
  if (console && !what.empty()) console->line(absl::StrCat("warning: ", where, ": ", what));
}

// What every rank must know of the others after a step.
struct Shared {
  bool stop = false;         // some rank was asked to
  int64_t memory_bytes = 0;  // of the rank with the most
  int64_t ended_saves = 0;   // on every rank, at least
};

absl::StatusOr<Shared> share(bool stop, const Job& job) {
  at::Tensor most = at::tensor({int64_t{stop}, peak_bytes(job.device), -job.writer->ended()});
  SY_RETURN_IF_ERROR(job.mesh.world().all_reduce(most, ReduceOp::kMax).wait());
  return Shared{most[0].item<int64_t>() != 0, most[1].item<int64_t>(), -most[2].item<int64_t>()};
}

StepMetrics metrics_of(const Job& job, const StepOutcome& outcome, double seconds, const LoopOptions& options) {
  const double tokens = static_cast<double>(job.config.train.global_batch * job.config.data.sequence);
  StepMetrics metrics;
  metrics.step = job.state.step;
  metrics.loss = outcome.loss;
  metrics.grad_norm = outcome.grad_norm;
  metrics.lr = outcome.lr;
  metrics.tokens = job.state.tokens;
  metrics.tokens_per_second = tokens / seconds;
  metrics.step_seconds = seconds;
  metrics.skipped = outcome.skipped;
  metrics.moe = outcome.moe.all;
  metrics.moe_layers = outcome.moe.layers;
  if (options.peak_flops > 0) {
    const double flops = flops_per_token(job.config.model, job.vocabulary, job.config.data.sequence);
    metrics.mfu = metrics.tokens_per_second * flops / options.peak_flops;
  }
  return metrics;
}

absl::Status diverged(const Job& job, const StepOutcome& outcome, const std::string& command) {
  const std::string& where = outcome.moe.not_finite;
  return error(
      ErrorCategory::kDiverged,
      absl::StrCat("loss or gradient was not finite in ", job.state.skipped_in_row, " steps in a row, up to step ",
                   job.state.step, where.empty() ? "" : " (", where, where.empty() ? "" : ")",
                   "; go on from the last checkpoint with a lower optimizer.lr: ", command));
}

// Waits for the first `count` saves and tells which failed. One that can't be written is no reason to lose the run
// while there is time to write another; `needed`: the step of the one for which there is none.
absl::Status settle_saves(const Job& job, const LoopOptions& options, int64_t count, int64_t needed = -1) {
  for (const auto& [step, status] : job.writer->take_ended(count)) {
    if (status.ok()) continue;
    const ErrorCategory category = error_category(status);
    const bool of_the_disk = category == ErrorCategory::kIo || category == ErrorCategory::kMissingInput;
    if (!of_the_disk || step == needed) return agree(job.mesh.world(), status);
    if (options.console) {
      options.console->line(
          absl::StrCat("warning: no checkpoint at step ", step, ", training goes on: ", std::string(status.message())));
    }
  }
  return absl::OkStatus();
}

// Says what became of a trace. One that can't be written is no reason to stop.
absl::Status tell(const absl::StatusOr<std::string>& trace, Console* console) {
  if (!trace.ok() && error_category(trace.status()) == ErrorCategory::kCommunication) return trace.status();
  const std::string text =
      trace.ok() ? *trace : absl::StrCat("warning: no trace: ", std::string(trace.status().message()));
  if (console && !text.empty()) console->line(text);
  return absl::OkStatus();
}

absl::Status run_steps(Job& job, const LoopOptions& options) {
  const TrainConfig& train = job.config.train;
  const absl::Time start = absl::Now();
  while (job.state.step < train.steps) {
    if (options.trace) {
      const int64_t step = job.state.step + 1;
      SY_RETURN_IF_ERROR(tell(options.trace->before_step(step, job.mesh.world(), job.device), options.console));
    }
    const absl::Time step_start = absl::Now();
    if (options.console) options.console->progress(job.state.step + 1);
    if (options.profile) options.profile->begin_step(job.device);
    SY_ASSIGN_OR_RETURN(const StepOutcome outcome, train_step(job));
    StepMetrics metrics = metrics_of(job, outcome, absl::ToDoubleSeconds(absl::Now() - step_start), options);
    if (options.profile) {
      SY_ASSIGN_OR_RETURN(metrics.profile, options.profile->end_step(job.mesh.world()));
    }
    SY_ASSIGN_OR_RETURN(const Shared shared, share(options.stop_requested(), job));
    metrics.memory_bytes = shared.memory_bytes;

    const bool last = shared.stop || job.state.step == train.steps;
    const bool at_end = job.state.step == train.steps && train.validate_every > 0;
    if (job.validation && (is_due(job.state.step, train.validate_every) || at_end)) {
      SY_ASSIGN_OR_RETURN(Validation validation, validate(job));
      metrics.validation_loss = validation.loss;
      metrics.validation_moe_layers = std::move(validation.moe.layers);
      metrics.expert_use = std::move(validation.expert_use);
      warn(options.console, absl::StrCat("validation after step ", job.state.step), validation.moe.not_finite);
    }
    if (options.console) options.console->step(metrics, absl::ToDoubleSeconds(absl::Now() - start));
    warn(options.console, absl::StrCat("step ", job.state.step), outcome.moe.not_finite);
    const absl::Status recorded = options.metrics ? options.metrics->append(metrics) : absl::OkStatus();
    if (!recorded.ok()) return recorded;

    SY_RETURN_IF_ERROR(settle_saves(job, options, shared.ended_saves));
    if (job.state.skipped_in_row >= train.max_skipped) {
      SY_RETURN_IF_ERROR(settle_saves(job, options, job.writer->begun()));
      return diverged(job, outcome, options.command);
    }
    const bool checkpoints = job.config.checkpoint.every > 0;
    const bool due = is_due(job.state.step, job.config.checkpoint.every) && !outcome.skipped;
    if ((checkpoints && last) || shared.stop || due) {
      if (options.metrics) SY_RETURN_IF_ERROR(options.metrics->sync());
      save(job);
    }
    if (last) SY_RETURN_IF_ERROR(settle_saves(job, options, job.writer->begun(), job.state.step));
    if (shared.stop && job.state.step < train.steps) {
      return error(
          ErrorCategory::kStoppedEarly,
          absl::StrCat("stopped by a signal after step ", job.state.step, " of ", train.steps, ", checkpoint saved in ",
                       checkpoints_folder(job.config), "; go on with: ", options.command));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status run_loop(Job& job, const LoopOptions& options) {
  const absl::Status status = run_steps(job, options);
  // After other errors some ranks may be gone.
  const bool all_there = status.ok() || error_category(status) == ErrorCategory::kStoppedEarly;
  if (options.trace && all_there) {
    SY_RETURN_IF_ERROR(tell(options.trace->finish(job.mesh.world()), options.console));
  }
  return status;
}

}  // namespace switchyard
