#include <ATen/ATen.h>

#include "layers/moe/router/rules/rules.h"
#include "layers/moe/router/selection.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

class SinkhornRule : public RoutingRule {
 public:
  explicit SinkhornRule(const RuleContext& context)
      : experts_per_token_(context.config.experts_per_token),
        config_(context.config.router),
        population_(context.population) {}

  Choice choose(Scored& scored) override {
    const at::Tensor logits_TE = scored.logits_TE;
    scored.ranking_TE = scored.context.training ? assign(logits_TE, scored.context.population) : logits_TE;
    return top_k(scored.ranking_TE, experts_per_token_);
  }
  at::Tensor weigh(const Scored& scored, const Choice& choice) override {
    const at::Tensor p_N = at_slots(scored.probabilities_TE, choice);
    return (config_.renormalise ? normalise(p_N, choice) : p_N) * config_.scale;
  }

 private:
  // In fp64. A token's row may be scaled at will: its largest entry is set to 1 first, and its own scale is left out of
  // the result.
  at::Tensor assign(const at::Tensor& logits_TE, int64_t population) const {
    const int64_t tokens = logits_TE.size(0), experts = logits_TE.size(1);
    if (tokens == 0 && population_.size() == 1) return logits_TE;
    const at::Tensor logits = logits_TE.to(at::kDouble);
    const at::Tensor cost_TE = tokens == 0 ? logits : at::exp(logits - logits.amax(1, true));
    at::Tensor columns_E = at::ones({experts}, at::kDouble);
    const double row_sum = 1.0 / static_cast<double>(std::max<int64_t>(1, population));
    for (int64_t i = 0; i < config_.iterations; ++i) {
      const at::Tensor rows_T = row_sum / at::mv(cost_TE, columns_E);
      const at::Tensor sums_E = at::mv(cost_TE.t(), rows_T);
      if (population_.size() > 1) throw_if_error(population_.all_reduce(sums_E, ReduceOp::kSum).wait());
      columns_E = 1.0 / static_cast<double>(experts) / sums_E;
    }
    return cost_TE * columns_E;
  }

  const int64_t experts_per_token_;
  const RouterConfig config_;
  Communicator& population_;
};

}  // namespace

std::unique_ptr<RoutingRule> make_sinkhorn_rule(const RuleContext& context) {
  return std::make_unique<SinkhornRule>(context);
}

}  // namespace switchyard
