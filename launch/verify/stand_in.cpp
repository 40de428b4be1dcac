#include "launch/verify/stand_in.h"

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "launch/verify/exchange_parts.h"
#include "launch/verify/job_parts.h"
#include "launch/verify/step_recorder.h"
#include "parallel/gradient/clip.h"
#include "parallel/optimizer/schedule.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

int differing_axes(const MeshShape& a, const MeshShape& b) {
  return (a.tensor != b.tensor) + (a.expert != b.expert) + (a.expert_tensor != b.expert_tensor);
}

// What falls to the tokens [begin, begin + count).
Choice share_of(const Choice& all, int64_t begin, int64_t count) {
  const at::Tensor offsets = all.offsets.narrow(0, begin, count + 1);
  const int64_t first = offsets[0].item<int64_t>(), slots = offsets[count].item<int64_t>() - first;
  return {.offsets = offsets - first,
          .experts = all.experts.narrow(0, first, slots).contiguous(),
          .kept = all.kept.defined() ? all.kept.narrow(0, first, slots).contiguous() : at::Tensor()};
}

}  // namespace

absl::StatusOr<ParallelConfig> other_layout(const ParallelConfig& asked, int ranks, const DecoderConfig& model) {
  const auto resolve = [&](const ParallelConfig& config) {
    return resolve_mesh(config, ranks, model.attention.heads, model.attention.kv_heads);
  };
  SY_ASSIGN_OR_RETURN(const MeshShape shape, resolve(asked));
  ParallelConfig best;
  int most = 0;
  for (int tensor = 1; tensor <= ranks; ++tensor) {
    for (int expert = 1; expert <= ranks; ++expert) {
      for (int expert_tensor = 1; expert_tensor <= ranks; ++expert_tensor) {
        const ParallelConfig config{.tensor = tensor, .expert = expert, .expert_tensor = expert_tensor};
        const absl::StatusOr<MeshShape> other = resolve(config);
        if (!other.ok() || differing_axes(*other, shape) <= most) continue;
        most = differing_axes(*other, shape);
        best = config;
      }
    }
  }
  if (most > 0) return best;
  return error(ErrorCategory::kOutOfMemory,
               "the reference does not fit into this host's memory, and there is no other layout of these ranks to "
               "stand in for it; use --shrink");
}

StandIn::StandIn(const RunConfig& config, int64_t vocabulary, std::unique_ptr<BatchLoader> batches, const Mesh& mesh,
                 Communicator& world)
    : config_(config), world_(world), job_(build_job(config, vocabulary, mesh, c10::kCPU, recorder_)) {
  job_->batches = std::move(batches);
  job_->optimizer->initialise_all(static_cast<uint64_t>(config.run.seed));
}

std::string StandIn::describe() const {
  const MeshShape& shape = job_->mesh.shape();
  return absl::StrCat("NOT one rank, which is too small: a second layout, data ", shape.data, " x tensor ",
                      shape.tensor, "; experts: expert_data ", shape.expert_data, " x expert ", shape.expert,
                      " x expert_tensor ", shape.expert_tensor, "; what both get wrong alike is not seen");
}

absl::StatusOr<ReferenceStep> StandIn::run(int64_t step, const Choices& choices) {
  StepRecorder recorder(*job_);
  job_->reducer->begin_step();
  for (int64_t part = 0; part < config_.train.accumulation; ++part) {
    if (part + 1 == config_.train.accumulation) job_->reducer->begin_last_part();
    SY_RETURN_IF_ERROR(run_part(step, part, choices[part]));
  }
  SY_RETURN_IF_ERROR(job_->reducer->finish());
  return ReferenceStep{.record = recorder.record(), .gradients = gradients(), .flips = {}};
}

absl::Status StandIn::run_part(int64_t step, int64_t part, const std::vector<Choice>& choices) {
  SY_ASSIGN_OR_RETURN(const TokenBatch batch, job_->batches->load(step, part));
  const auto [begin, end] = cut(batch.tokens.numel(), job_->mesh.size(Axis::kTensor), job_->mesh.index(Axis::kTensor));
  size_t next = 0;
  for (const auto& [layer, moe] : job_->model->moe_layers()) {
    moe->router().replay(share_of(choices.at(next++), batch.first_token + begin, end - begin));
  }
  const DecoderOutput output = job_->model->forward(batch);
  (output.loss + output.auxiliary_loss).backward();
  return absl::OkStatus();
}

std::vector<TensorPart> StandIn::gradients() {
  return gradient_parts(*job_);
}

absl::StatusOr<double> StandIn::update(int64_t step) {
  const OptimizerConfig& optimizer = config_.optimizer;
  SY_ASSIGN_OR_RETURN(const double norm, gradient_norm(job_->reducer->shards(), world_));
  SY_RETURN_IF_ERROR(job_->optimizer->update(learning_rate(optimizer, step + 1, config_.train.steps),
                                             clip_factor(norm, optimizer.clip)));
  for (const auto& [layer, moe] : job_->model->moe_layers()) moe->router().finish_step();
  return norm;
}

std::vector<TensorPart> StandIn::parameters() {
  return master_parts(*job_);
}

std::vector<TensorPart> StandIn::moments() {
  return moment_parts(*job_);
}

std::vector<TensorPart> StandIn::router_state() {
  return router_state_parts(*job_);
}

absl::Status StandIn::adopted() {
  return job_->optimizer->gather_values();
}

}  // namespace switchyard
