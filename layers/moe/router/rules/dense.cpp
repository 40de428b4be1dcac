#include <ATen/ATen.h>

#include "layers/moe/router/gate.h"
#include "layers/moe/router/gate_network.h"
#include "layers/moe/router/rules/rules.h"
#include "layers/moe/router/selection.h"

namespace switchyard {
namespace {

class DenseRule : public RoutingRule {
 public:
  explicit DenseRule(const RuleContext& context)
      : experts_(context.config.experts), scale_(context.config.router.scale) {
    if (context.config.router.combination != "linear") return;
    coefficients_ =
        make_router_parameter(context.name + ".coefficients", {experts_, 1}, Initialisation::kOnes, 0, context.build);
  }

  void score(Scored& scored) override {
    if (!coefficients_) return RoutingRule::score(scored);
    const at::Tensor ones_T = at::ones({scored.x_TD.size(0), 1}, scored.x_TD.options());
    scored.scores_TE = gate(ones_T, *coefficients_).cpu() / static_cast<double>(experts_);
  }
  Choice choose(Scored& scored) override {
    const int64_t tokens = scored.x_TD.size(0);
    return {.offsets = at::arange(0, (tokens + 1) * experts_, experts_, at::kLong),
            .experts = at::arange(experts_, at::kLong).repeat({tokens}),
            .kept = {}};
  }
  at::Tensor weigh(const Scored& scored, const Choice& choice) override {
    return at_slots(scored.scores_TE, choice) * scale_;
  }
  ParameterList parameters() override {
    if (!coefficients_) return {};
    return {coefficients_.get()};
  }

 private:
  const int64_t experts_;
  const double scale_;
  std::unique_ptr<Parameter> coefficients_;
};

}  // namespace

std::unique_ptr<RoutingRule> make_dense_rule(const RuleContext& context) {
  return std::make_unique<DenseRule>(context);
}

}  // namespace switchyard
