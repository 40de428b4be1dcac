#include <algorithm>

#include <ATen/ATen.h>

#include "layers/moe/router/balance/terms.h"
#include "layers/moe/router/gate_network.h"
#include "layers/moe/router/rules/expected_load.h"
#include "layers/moe/router/rules/rules.h"
#include "layers/moe/router/selection.h"
#include "layers/moe/router/token_random.h"

namespace switchyard {
namespace {

class NoisyTopKRule : public RoutingRule {
 public:
  explicit NoisyTopKRule(const RuleContext& context)
      : name_(context.name),
        seed_(context.build.seed),
        experts_per_token_(context.config.experts_per_token),
        scale_(context.config.router.scale),
        noise_(make_router_parameter(name_ + ".noise", {context.config.experts, context.width}, Initialisation::kZeros,
                                     0, context.build)) {}

  Parameter* second_gate(const TokenContext& context) override { return context.training ? noise_.get() : nullptr; }
  void score(Scored& scored) override {
    scored.scores_TE = scored.logits_TE;
    if (scored.context.training) {
      // Shazeer et al.'s code keeps the noise off zero, where the load estimator has none.
      scored.spread_TE = at::softplus(scored.second_TE) + 1e-2;
      const TokenRandom random(seed_, name_ + ".noise", scored.context);
      const at::Tensor drawn_TE = random.normals(scored.x_TD.size(0), scored.logits_TE.size(1));
      scored.scores_TE = at::addcmul(scored.logits_TE, scored.spread_TE, drawn_TE.to(scored.logits_TE.scalar_type()));
      const int64_t tokens = scored.scores_TE.size(0),
                    best = std::min(experts_per_token_ + 1, scored.scores_TE.size(1));
      scored.best_TK = top_k(scored.scores_TE, best).experts.view({tokens, best});
    }
    scored.probabilities_TE = at::softmax(scored.scores_TE, 1);
  }
  Choice choose(Scored& scored) override {
    scored.ranking_TE = scored.scores_TE;
    if (!scored.best_TK.defined()) return top_k(scored.scores_TE, experts_per_token_);
    const int64_t k = experts_per_token_, slots = scored.scores_TE.size(0) * k;
    return {.offsets = at::arange(0, slots + 1, k, at::kLong),
            .experts = scored.best_TK.narrow(1, 0, k).reshape(-1),
            .kept = {}};
  }
  at::Tensor weigh(const Scored& scored, const Choice& choice) override {
    return normalise(at_slots(scored.probabilities_TE, choice), choice) * scale_;
  }
  ParameterList parameters() override { return {noise_.get()}; }

 private:
  const std::string name_;
  const uint64_t seed_;
  const int64_t experts_per_token_;
  const double scale_;
  std::unique_ptr<Parameter> noise_;
};

class LoadLoss : public BalanceTerm {
 public:
  LoadLoss(double coefficient, int64_t experts_per_token)
      : BalanceTerm("load_loss", coefficient), experts_per_token_(experts_per_token) {}

  void add(const Scored& scored, const Choice&, const at::Tensor&, PopulationSums& sums) override {
    if (!scored.spread_TE.defined()) return;
    const int64_t tokens = scored.scores_TE.size(0), experts = scored.scores_TE.size(1);
    sums.add("load_loss", experts_per_token_ == experts
                              ? at::full({experts}, tokens, at::kDouble)
                              : expected_load(scored.logits_TE, scored.scores_TE, scored.spread_TE, scored.best_TK));
  }
  at::Tensor loss(const Scored& scored, const PopulationSums& sums) override {
    return squared_variation(scored.spread_TE.defined() ? sums["load_loss"] : sums["slots"]);
  }

 private:
  const int64_t experts_per_token_;
};

}  // namespace

std::unique_ptr<RoutingRule> make_noisy_top_k_rule(const RuleContext& context) {
  return std::make_unique<NoisyTopKRule>(context);
}
std::unique_ptr<BalanceTerm> make_load_loss(double coefficient, int64_t experts_per_token) {
  return std::make_unique<LoadLoss>(coefficient, experts_per_token);
}

}  // namespace switchyard
