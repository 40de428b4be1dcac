#include "launch/train/train_step.h"

#include <cmath>

#include <ATen/ATen.h>

#include "parallel/gradient/clip.h"
#include "parallel/optimizer/schedule.h"
#include "runtime/comm/exchange.h"
#include "runtime/telemetry/in_span.h"

namespace switchyard {

absl::StatusOr<StepOutcome> compute_gradients(Job& job) {
  const TrainConfig& config = job.config.train;
  MoeMetrics moe(*job.model);
  double loss = 0;

  job.reducer->begin_step();
  for (int64_t part = 0; part < config.accumulation; ++part) {
    if (part + 1 == config.accumulation) job.reducer->begin_last_part();
    absl::StatusOr<TokenBatch> batch = in_span("load", [&] { return job.batches->load(job.state.step, part); });
    if (!batch.ok()) return batch.status();
    const DecoderOutput output = in_span("forward", [&] { return job.model->forward(*batch); });
    in_span("backward", [&] { (output.loss + output.auxiliary_loss).backward(); });
    loss += output.loss.item<double>();
    moe.add_part(batch->part_tokens);
  }
  SY_RETURN_IF_ERROR(in_span("wait for gradients", [&] { return job.reducer->finish(); }));

  StepOutcome outcome{.moe = moe.take()};
  SY_ASSIGN_OR_RETURN(outcome.loss, reduce_number(job.mesh.world(), loss, ReduceOp::kSum));
  return outcome;
}

absl::Status apply_gradients(Job& job, StepOutcome& outcome) {
  SY_ASSIGN_OR_RETURN(outcome.grad_norm, gradient_norm(job.reducer->shards(), job.mesh.world()));
  outcome.lr = learning_rate(job.config.optimizer, job.state.step + 1, job.config.train.steps);
  outcome.skipped = !std::isfinite(outcome.loss) || !std::isfinite(outcome.grad_norm);
  if (outcome.skipped) return absl::OkStatus();
  return in_span("optimizer", [&]() -> absl::Status {
    SY_RETURN_IF_ERROR(job.optimizer->update(outcome.lr, clip_factor(outcome.grad_norm, job.config.optimizer.clip)));
    for (const auto& [layer, moe_layer] : job.model->moe_layers()) moe_layer->router().finish_step();
    return absl::OkStatus();
  });
}

absl::StatusOr<StepOutcome> train_step(Job& job) try {
  SY_ASSIGN_OR_RETURN(StepOutcome outcome, compute_gradients(job));
  SY_RETURN_IF_ERROR(apply_gradients(job, outcome));
  ++job.state.step;
  job.state.updates = job.optimizer->updates();
  job.state.tokens += job.config.train.global_batch * job.config.data.sequence;
  job.state.skipped_in_row = outcome.skipped ? job.state.skipped_in_row + 1 : 0;
  return outcome;
} catch (const StatusError& e) {
  return e.status();
}

}  // namespace switchyard
