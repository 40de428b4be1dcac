// A limit on the slots of an expert (Lepikhin et al., "GShard", 2020; Fedus et al., "Switch Transformers", 2021): of
// the population's slots an expert takes at most ⌊factor·T·K/E⌋, the same ones on every layout; the others are dropped,
// and with them their share of the token's output. Weights stay as they are.
#pragma once

#include <cstdint>
#include <string>

#include "layers/moe/router/config.h"
#include "layers/moe/router/population.h"
#include "layers/moe/router/router.h"

namespace switchyard {

// slots_per_expert of a part. In evaluation one at least: a pass's last part may be as short as one sequence. Throws
// kBadConfig where it rounds to zero in training, whose parts are all alike.
int64_t slots_in_part(double factor, const TokenContext& context, int64_t experts_per_token, int64_t experts);

class Capacity {
 public:
  // `name`: of the router, for what is drawn.
  Capacity(const std::string& name, const CapacityConfig& config, int64_t experts, int64_t experts_per_token,
           uint64_t seed);

  // slots_in_part of this capacity.
  int64_t limit(const TokenContext& context) const;
  // Which slots stay, bool [N]. Collective over `ranks`. drop: score, those with the largest weights stay; position,
  // the first tokens'; random, drawn by token and expert. Ties go to the earlier token.
  at::Tensor keep(const Choice& choice, const at::Tensor& weights_N, const TokenContext& context,
                  Communicator& ranks) const;
  bool pads() const { return config_.pad; }

 private:
  const std::string name_;
  const CapacityConfig config_;
  const int64_t experts_;
  const int64_t experts_per_token_;
  const uint64_t seed_;
};

}  // namespace switchyard
