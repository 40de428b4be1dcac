#include <ATen/ATen.h>

#include "layers/moe/router/rules/rules.h"
#include "layers/moe/router/selection.h"

namespace switchyard {
namespace {

class TopPRule : public RoutingRule {
 public:
  explicit TopPRule(const RuleContext& context)
      : most_(context.config.experts_per_token), config_(context.config.router) {}

  Choice choose(Scored& scored) override {
    scored.ranking_TE = scored.probabilities_TE;
    const Choice best = top_k(scored.probabilities_TE, most_);
    const at::Tensor p_TK = at_slots(scored.probabilities_TE, best).view({-1, most_});
    // An expert is taken while those before it fall short.
    const at::Tensor before_TK = at::cumsum(p_TK, 1) - p_TK;
    at::Tensor taken_TK = before_TK < config_.probability;
    taken_TK.select(1, 0).fill_(true);  // also where probabilities are not finite
    return filter(best, taken_TK.reshape(-1));
  }
  at::Tensor weigh(const Scored& scored, const Choice& choice) override {
    const at::Tensor p_N = at_slots(scored.probabilities_TE, choice);
    return (config_.renormalise ? normalise(p_N, choice) : p_N) * config_.scale;
  }

 private:
  const int64_t most_;
  const RouterConfig config_;
};

}  // namespace

std::unique_ptr<RoutingRule> make_top_p_rule(const RuleContext& context) {
  return std::make_unique<TopPRule>(context);
}

}  // namespace switchyard
