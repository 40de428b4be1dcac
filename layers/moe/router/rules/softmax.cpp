#include <ATen/ATen.h>

#include "layers/moe/router/balance/load_bias.h"
#include "layers/moe/router/rules/rules.h"
#include "layers/moe/router/selection.h"

namespace switchyard {
namespace {

class SoftmaxRule : public RoutingRule {
 public:
  explicit SoftmaxRule(const RuleContext& context)
      : experts_per_token_(context.config.experts_per_token),
        renormalise_(context.config.router.renormalise || context.config.router.top_k_first),
        scale_(context.config.router.scale),
        bias_(context.name, context.config.experts, context.config.router.balance.bias_rate) {}

  Choice choose(Scored& scored) override {
    scored.ranking_TE = bias_.apply(scored.probabilities_TE);
    return top_k(scored.ranking_TE, experts_per_token_);
  }
  at::Tensor weigh(const Scored& scored, const Choice& choice) override {
    const at::Tensor p_N = at_slots(scored.probabilities_TE, choice);
    return (renormalise_ ? normalise(p_N, choice) : p_N) * scale_;
  }
  std::vector<RouterBuffer> buffers() override { return bias_.buffers(); }
  void observe(const Scored& scored, const std::vector<int64_t>& slots) override {
    bias_.observe(scored.context, slots);
  }
  void finish_step() override { bias_.finish_step(); }

 private:
  const int64_t experts_per_token_;
  const bool renormalise_;
  const double scale_;
  LoadBias bias_;
};

}  // namespace

std::unique_ptr<RoutingRule> make_softmax_rule(const RuleContext& context) {
  return std::make_unique<SoftmaxRule>(context);
}

}  // namespace switchyard
