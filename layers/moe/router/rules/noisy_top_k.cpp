#include <algorithm>
#include <numbers>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/moe/router/balance/terms.h"
#include "layers/moe/router/gate.h"
#include "layers/moe/router/gate_network.h"
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

  void score(Scored& scored) override {
    scored.scores_TE = scored.logits_TE;
    if (scored.context.training) {
      // Shazeer et al.'s code keeps the noise off zero, where the load estimator has none.
      scored.spread_TE = at::softplus(gate(scored.x_TD, *noise_)) + 1e-2;
      const TokenRandom random(seed_, name_ + ".noise", scored.context);
      const at::Tensor drawn_TE = random.normals(scored.x_TD.size(0), scored.logits_TE.size(1));
      scored.scores_TE = scored.logits_TE + scored.spread_TE * drawn_TE.to(scored.logits_TE.scalar_type());
      const int64_t tokens = scored.scores_TE.size(0),
                    best = std::min(experts_per_token_ + 1, scored.scores_TE.size(1));
      scored.best_TK = top_k(scored.scores_TE, best).experts.view({tokens, best});
    }
    scored.probabilities_TE = at::softmax(scored.scores_TE, 1);
  }
  Choice choose(const Scored& scored) override {
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

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// How many tokens each expert may expect if the noise were drawn again, fp64 [E]: the sum over tokens of
// Φ((logit − threshold) / spread), the threshold being the K-th largest score among the other experts. `best_TK` as in
// Scored, K + 1 experts. A function of its own because autograd would record some thirty operations on [T,E].
struct ExpectedLoad : torch::autograd::Function<ExpectedLoad> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& logits_TE, const at::Tensor& scores_TE,
                            const at::Tensor& spread_TE, const at::Tensor& best_TK) {
    const int64_t k = best_TK.size(1) - 1;
    const at::Tensor best = scores_TE.gather(1, best_TK), chosen = best_TK.narrow(1, 0, k);
    const at::Tensor threshold_TE = best.narrow(1, k - 1, 1).expand_as(scores_TE).clone();
    threshold_TE.scatter_(1, chosen, best.narrow(1, k, 1).expand_as(chosen));
    const at::Tensor z_TE = (logits_TE - threshold_TE).div_(spread_TE);
    context->save_for_backward({z_TE, spread_TE, best_TK});
    return 0.5 * (static_cast<double>(z_TE.size(0)) + at::erf(z_TE / std::numbers::sqrt2).sum(0, false, at::kDouble));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &z_TE = saved[0], &spread_TE = saved[1], &best_TK = saved[2];
    const int64_t k = best_TK.size(1) - 1;
    const at::Tensor g_E = (gradients[0] * (std::numbers::inv_sqrtpi / std::numbers::sqrt2)).to(z_TE.scalar_type());
    const at::Tensor d_TE = z_TE.square().mul_(-0.5).exp_().mul_(g_E).div_(spread_TE);
    // The chosen experts' threshold is the score of expert K + 1, the others' that of expert K.
    const at::Tensor chosen_T = d_TE.gather(1, best_TK.narrow(1, 0, k)).sum(1), all_T = d_TE.sum(1);
    const at::Tensor d_scores_TE = at::zeros_like(d_TE);
    d_scores_TE.scatter_(1, best_TK.narrow(1, k - 1, 2), at::stack({chosen_T - all_T, -chosen_T}, 1));
    return {d_TE, d_scores_TE, (d_TE * z_TE).neg_(), at::Tensor()};
  }
};

class LoadLoss : public BalanceTerm {
 public:
  LoadLoss(double coefficient, int64_t experts_per_token)
      : BalanceTerm("load_loss", coefficient), experts_per_token_(experts_per_token) {}

  void add(const Scored& scored, const Choice&, const at::Tensor&, PopulationSums& sums) override {
    if (!scored.spread_TE.defined()) return;
    const int64_t tokens = scored.scores_TE.size(0), experts = scored.scores_TE.size(1);
    sums.add("load_loss", experts_per_token_ == experts ? at::full({experts}, tokens, at::kDouble)
                                                        : ExpectedLoad::apply(scored.logits_TE, scored.scores_TE,
                                                                              scored.spread_TE, scored.best_TK));
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
