#include "layers/moe/router/capacity.h"

#include <cmath>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "layers/moe/router/population_top.h"
#include "layers/moe/router/selection.h"
#include "layers/moe/router/token_random.h"
#include "runtime/base/status.h"

namespace switchyard {

Capacity::Capacity(const std::string& name, const CapacityConfig& config, int64_t experts, int64_t experts_per_token,
                   uint64_t seed)
    : name_(name), config_(config), experts_(experts), experts_per_token_(experts_per_token), seed_(seed) {}

int64_t Capacity::limit(int64_t population) const {
  return value_or_throw(slots_per_expert(config_.factor, population, experts_per_token_, experts_));
}

at::Tensor Capacity::keep(const Choice& choice, const at::Tensor& weights_N, const TokenContext& context,
                          Communicator& ranks) const {
  at::Tensor scores;
  if (config_.drop == "score") scores = weights_N;
  if (config_.drop == "random") {
    const int64_t tokens = choice.offsets.size(0) - 1;
    scores = at_slots(TokenRandom(seed_, name_ + ".drop", context).uniforms(tokens, experts_), choice);
  }
  return population_top(choice.experts, scores, experts_, limit(context.population), ranks);
}

}  // namespace switchyard
