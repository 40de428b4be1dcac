#include "launch/verify/stand_in.h"

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "launch/train/estimate.h"
#include "launch/verify/job_parts.h"
#include "launch/verify/step_recorder.h"
#include "layers/moe/router/router_decorator.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

int differing_axes(const MeshShape& a, const MeshShape& b) {
  return (a.tensor != b.tensor) + (a.expert != b.expert) + (a.expert_tensor != b.expert_tensor);
}

std::vector<int> divisors_of(int n) {
  std::vector<int> divisors;
  for (int i = 1; i <= n; ++i) {
    if (n % i == 0) divisors.push_back(i);
  }
  return divisors;
}

// What falls to the tokens [begin, begin + count).
Choice share_of(const Choice& all, int64_t begin, int64_t count) {
  const at::Tensor offsets = all.offsets.narrow(0, begin, count + 1);
  const int64_t first = offsets[0].item<int64_t>(), slots = offsets[count].item<int64_t>() - first;
  return {.offsets = offsets - first,
          .experts = all.experts.narrow(0, first, slots).contiguous(),
          .kept = all.kept.defined() ? all.kept.narrow(0, first, slots).contiguous() : at::Tensor()};
}

// Takes the choices that it is shown, by part.
class ReplayingRouter : public RouterDecorator {
 public:
  ReplayingRouter(std::unique_ptr<Router> router, const Choices* const& choices, size_t index)
      : RouterDecorator(std::move(router)), choices_(choices), index_(index) {}

  RouterOutput route(const at::Tensor& x_tD, const TokenContext& context) override {
    const Choice& all = choices_->at(context.part).at(index_);
    replay(share_of(all, context.first_token, x_tD.size(0)));
    return RouterDecorator::route(x_tD, context);
  }

 private:
  const Choices* const& choices_;
  const size_t index_;  // among the mixture layers
};

}  // namespace

absl::StatusOr<ParallelConfig> other_layout(const ParallelConfig& asked, int ranks, const DecoderConfig& model) {
  const auto resolve = [&](const ParallelConfig& config) {
    return resolve_mesh(config, ranks, model.attention.heads, model.attention.kv_heads);
  };
  SY_ASSIGN_OR_RETURN(const MeshShape shape, resolve(asked));
  ParallelConfig best;
  int most = 0;
  const std::vector<int> divisors = divisors_of(ranks);
  for (const int tensor : divisors) {
    for (const int expert : divisors) {
      for (const int expert_tensor : divisors) {
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

StandIn::StandIn(const RunConfig& config, int64_t vocabulary, std::unique_ptr<BatchLoader> batches, const Mesh& mesh) {
  size_t layers = 0;
  const Decorators replay{.router =
                              [&](std::unique_ptr<Router> router) {
                                return std::make_unique<ReplayingRouter>(std::move(router), choices_, layers++);
                              },
                          .dispatcher = nullptr};
  job_ = build_job(config, vocabulary, mesh, c10::kCPU, recorder_, replay);
  job_->batches = std::move(batches);
  job_->optimizer->initialise_all(static_cast<uint64_t>(config.run.seed));
}

std::string StandIn::describe() const {
  return absl::StrCat("NOT one rank, which is too small: a second layout, ", describe_layout(job_->mesh.shape()),
                      "; what both get wrong alike is not seen");
}

absl::StatusOr<ReferenceStep> StandIn::run(int64_t step, const Choices& choices) {
  StepRecorder recorder(*job_);
  choices_ = &choices;
  job_->state.step = step;
  SY_ASSIGN_OR_RETURN(outcome_, compute_gradients(*job_));
  return ReferenceStep{.record = recorder.record(), .gradients = gradients(), .flips = {}};
}

std::vector<TensorPart> StandIn::gradients() {
  return gradient_parts(*job_);
}

absl::StatusOr<double> StandIn::update(int64_t) {
  SY_RETURN_IF_ERROR(apply_gradients(*job_, outcome_));
  return outcome_.grad_norm;
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
