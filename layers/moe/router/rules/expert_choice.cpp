#include <ATen/ATen.h>

#include "layers/moe/router/capacity.h"
#include "layers/moe/router/population_top.h"
#include "layers/moe/router/rules/rules.h"
#include "layers/moe/router/selection.h"

namespace switchyard {
namespace {

class ExpertChoiceRule : public RoutingRule {
 public:
  explicit ExpertChoiceRule(const RuleContext& context)
      : experts_(context.config.experts),
        experts_per_token_(context.config.experts_per_token),
        config_(context.config.router),
        population_(context.population) {}

  Choice choose(Scored& scored) override {
    const int64_t limit = slots_in_part(config_.limit_factor(), scored.context, experts_per_token_, experts_);
    const at::Tensor p_TE = scored.ranking_TE = scored.probabilities_TE;
    const at::Tensor candidates = at::arange(experts_, at::kLong).repeat({p_TE.size(0)});
    return choice_of(population_top(candidates, p_TE.reshape(-1), experts_, limit, population_).view_as(p_TE));
  }
  at::Tensor weigh(const Scored& scored, const Choice& choice) override {
    const at::Tensor p_N = at_slots(scored.probabilities_TE, choice);
    return (config_.renormalise ? normalise(p_N, choice) : p_N) * config_.scale;
  }

 private:
  const int64_t experts_;
  const int64_t experts_per_token_;
  const RouterConfig config_;
  Communicator& population_;
};

}  // namespace

std::unique_ptr<RoutingRule> make_expert_choice_rule(const RuleContext& context) {
  return std::make_unique<ExpertChoiceRule>(context);
}

}  // namespace switchyard
