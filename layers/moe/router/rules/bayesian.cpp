#include <ATen/ATen.h>

#include "layers/moe/router/posterior.h"
#include "layers/moe/router/rules/rules.h"
#include "layers/moe/router/selection.h"

namespace switchyard {
namespace {

class BayesianRule : public RoutingRule {
 public:
  explicit BayesianRule(const RuleContext& context)
      : experts_(context.config.experts),
        experts_per_token_(context.config.experts_per_token),
        config_(context.config.router),
        population_(context.population),
        posterior_(context.name, context.width, experts_, config_.bayesian, context.build.seed) {}

  void score(Scored& scored) override {
    clusters_T_ = posterior_.clusters(scored.x_TD);
    scored.probabilities_TE = at::softmax(scored.logits_TE, 1);
    scored.scores_TE = scored.probabilities_TE * of_tokens(posterior_.mean(), scored.logits_TE);
  }
  Choice choose(Scored& scored) override {
    scored.ranking_TE = scored.scores_TE;
    if (scored.context.training) {
      const at::Tensor chances = posterior_.explore(scored.context.step, scored.context.part);
      scored.ranking_TE = scored.probabilities_TE * of_tokens(chances, scored.logits_TE);
    }
    return top_k(scored.ranking_TE, experts_per_token_);
  }
  at::Tensor weigh(const Scored& scored, const Choice& choice) override {
    const at::Tensor w_N = at_slots(scored.scores_TE, choice);
    const at::Tensor weights_N = (config_.renormalise ? normalise(w_N, choice) : w_N) * config_.scale;
    if (scored.context.training && weights_N.requires_grad()) watch(scored, choice, weights_N);
    return weights_N;
  }
  void report(std::map<std::string, double>& scalars) override {
    if (posterior_.calibration_error() >= 0) scalars["calibration_error"] = posterior_.calibration_error();
  }
  std::vector<RouterBuffer> buffers() override { return posterior_.buffers(); }
  void finish_step() override { posterior_.take(&population_); }

 private:
  at::Tensor of_tokens(const at::Tensor& chances_CE, const at::Tensor& logits_TE) const {
    return chances_CE.to(logits_TE.scalar_type()).index_select(0, clusters_T_);
  }

  // An expert served a token well where a larger weight would have lowered the loss. A slot that a capacity dropped has
  // a gradient of exactly 0 and tells nothing.
  void watch(const Scored& scored, const Choice& choice, const at::Tensor& weights_N) {
    if (scored.context.step != step_) posterior_.discard();  // of a step that was skipped
    step_ = scored.context.step;
    const at::Tensor clusters_N = clusters_T_.index_select(0, slot_tokens(choice));
    const at::Tensor cells_N = clusters_N * experts_ + choice.experts;
    const at::Tensor confidence_N = posterior_.mean().view({-1}).index_select(0, cells_N);
    weights_N.register_hook([this, cells_N, confidence_N](const at::Tensor& gradient_N) {
      const at::Tensor told_N = gradient_N.ne(0);
      posterior_.observe(cells_N.masked_select(told_N), gradient_N.lt(0).masked_select(told_N),
                         confidence_N.masked_select(told_N));
    });
  }

  const int64_t experts_;
  const int64_t experts_per_token_;
  const RouterConfig config_;
  Communicator& population_;
  ExpertPosterior posterior_;
  at::Tensor clusters_T_;  // of the tokens that are being routed
  int64_t step_ = -1;
};

}  // namespace

std::unique_ptr<RoutingRule> make_bayesian_rule(const RuleContext& context) {
  return std::make_unique<BayesianRule>(context);
}

}  // namespace switchyard
