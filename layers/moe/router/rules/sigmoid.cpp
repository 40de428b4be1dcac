#include <limits>

#include <ATen/ATen.h>

#include "layers/moe/router/balance/load_bias.h"
#include "layers/moe/router/rules/rules.h"
#include "layers/moe/router/selection.h"

namespace switchyard {
namespace {

class SigmoidRule : public RoutingRule {
 public:
  explicit SigmoidRule(const RuleContext& context)
      : experts_per_token_(context.config.experts_per_token),
        config_(context.config.router),
        bias_(context.name, context.config.experts, context.config.router.balance.bias_rate) {}

  void score(Scored& scored) override {
    scored.scores_TE = at::sigmoid(scored.logits_TE);
    scored.probabilities_TE = scored.scores_TE / (scored.scores_TE.sum(1, true) + 1e-20);
  }
  Choice choose(Scored& scored) override {
    scored.ranking_TE = within_groups(bias_.apply(scored.scores_TE));
    return top_k(scored.ranking_TE, experts_per_token_);
  }
  at::Tensor weigh(const Scored& scored, const Choice& choice) override {
    const at::Tensor s_N = at_slots(scored.scores_TE, choice);
    return (config_.renormalise ? normalise(s_N, choice) : s_N) * config_.scale;
  }
  std::vector<RouterBuffer> buffers() override { return bias_.buffers(); }
  void observe(const Scored& scored, const std::vector<int64_t>& slots) override {
    bias_.observe(scored.context, slots);
  }
  void finish_step() override { bias_.finish_step(); }

 private:
  // −∞ outside a token's best groups.
  at::Tensor within_groups(const at::Tensor& scores_TE) const {
    if (config_.groups_per_token == config_.groups) return scores_TE;
    const int64_t tokens = scores_TE.size(0), in_group = scores_TE.size(1) / config_.groups;
    const at::Tensor grouped = scores_TE.view({tokens, config_.groups, in_group});
    const int64_t best_of_group = std::min<int64_t>(2, in_group);
    const at::Tensor ids = top_k(grouped.reshape({-1, in_group}), best_of_group).experts;
    const at::Tensor best = grouped.gather(2, ids.view({tokens, config_.groups, best_of_group})).sum(2);
    const at::Tensor chosen = top_k(best, config_.groups_per_token).experts.view({tokens, config_.groups_per_token});
    const double never = -std::numeric_limits<double>::infinity();
    const at::Tensor outside = at::full({tokens, config_.groups}, never, grouped.options()).scatter_(1, chosen, 0);
    return (grouped + outside.unsqueeze(2)).view_as(scores_TE);  // twice as fast as masked_fill
  }

  const int64_t experts_per_token_;
  const RouterConfig config_;
  LoadBias bias_;
};

}  // namespace

std::unique_ptr<RoutingRule> make_sigmoid_rule(const RuleContext& context) {
  return std::make_unique<SigmoidRule>(context);
}

}  // namespace switchyard
