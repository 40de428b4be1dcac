// What tells one kind of router from another: how logits become experts and weights. The gate comes before it, losses
// and capacity after (composed_router.h).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "layers/moe/router/balance/balance_term.h"
#include "layers/moe/router/router.h"

namespace switchyard {

class RoutingRule {
 public:
  virtual ~RoutingRule() = default;
  // A weight [E,D] that this rule has tokens multiplied by too: a second linear gate, whose logits score() finds in
  // Scored::second_TE. Null: none, or no gate at all.
  virtual Parameter* second_gate(const TokenContext& /*context*/) { return nullptr; }
  // Fills scores_TE and probabilities_TE from what else is known of the tokens. The default: the softmax of the logits
  // is both.
  virtual void score(Scored& scored);
  // Without gradients. Sets scored.ranking_TE to what it compares experts by, if anything. May be collective over the
  // population; throws StatusError.
  virtual Choice choose(Scored& scored) = 0;
  // Weights of the slots, [N], in the logits' dtype, carrying autograd; on the host.
  virtual at::Tensor weigh(const Scored& scored, const Choice& choice) = 0;

  virtual ParameterList parameters() { return {}; }
  virtual std::vector<RouterBuffer> buffers() { return {}; }
  // What the kind tells of itself.
  virtual void report(std::map<std::string, double>& /*scalars*/) {}
  // `slots`: the population's, by expert, of the part that was just routed.
  virtual void observe(const Scored& /*scored*/, const std::vector<int64_t>& /*slots*/) {}
  virtual void finish_step() {}
};

}  // namespace switchyard
