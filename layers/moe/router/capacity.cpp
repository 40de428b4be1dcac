#include "layers/moe/router/capacity.h"

#include <cmath>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "layers/moe/router/population_top.h"
#include "layers/moe/router/token_random.h"
#include "runtime/base/status.h"

namespace switchyard {

int64_t slots_in_part(double factor, const TokenContext& context, int64_t experts_per_token, int64_t experts) {
  const absl::StatusOr<int64_t> slots = slots_per_expert(factor, context.population, experts_per_token, experts);
  if (!slots.ok() && !context.training) return 1;
  return value_or_throw(slots);
}

Capacity::Capacity(const std::string& name, const CapacityConfig& config, int64_t experts, int64_t experts_per_token,
                   uint64_t seed)
    : name_(name), config_(config), experts_(experts), experts_per_token_(experts_per_token), seed_(seed) {}

int64_t Capacity::limit(const TokenContext& context) const {
  return slots_in_part(config_.factor, context, experts_per_token_, experts_);
}

at::Tensor Capacity::keep(const Choice& choice, const at::Tensor& weights_N, const TokenContext& context,
                          Communicator& ranks) const {
  at::Tensor scores;
  if (config_.drop == "score") scores = weights_N;
  if (config_.drop == "random") {
    const TokenRandom random(seed_, name_ + ".drop", context);
    scores = at::empty({choice.experts.size(0)}, at::kDouble);
    const auto offsets = choice.offsets.accessor<int64_t, 1>(), experts = choice.experts.accessor<int64_t, 1>();
    auto drawn = scores.accessor<double, 1>();
    for (int64_t t = 0; t + 1 < offsets.size(0); ++t) {
      for (int64_t s = offsets[t]; s < offsets[t + 1]; ++s) drawn[s] = random.uniform(t, experts_, experts[s]);
    }
  }
  return population_top(choice.experts, scores, experts_, limit(context), ranks);
}

}  // namespace switchyard
