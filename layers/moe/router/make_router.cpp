#include "layers/moe/router/make_router.h"

#include "layers/moe/router/balance/terms.h"
#include "layers/moe/router/composed_router.h"
#include "layers/moe/router/rules/rules.h"
#include "layers/moe/router/softmax_router.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

std::unique_ptr<RoutingRule> make_rule(const RuleContext& context) {
  const std::string& kind = context.config.router.kind;
  // The label loss teaches an ordinary softmax router.
  if (kind == "softmax" || kind == "supervised") return make_softmax_rule(context);
  if (kind == "sigmoid") return make_sigmoid_rule(context);
  if (kind == "noisy_top_k") return make_noisy_top_k_rule(context);
  if (kind == "top_p") return make_top_p_rule(context);
  if (kind == "expert_choice") return make_expert_choice_rule(context);
  if (kind == "sinkhorn") return make_sinkhorn_rule(context);
  if (kind == "hash") return make_hash_rule(context);
  if (kind == "bayesian") return make_bayesian_rule(context);
  SY_CHECK_EQ(kind, "dense");
  return make_dense_rule(context);
}

// Losses without a coefficient are left out, but those that the metrics always show.
std::vector<std::unique_ptr<BalanceTerm>> make_terms(const RuleContext& context) {
  const RouterConfig& config = context.config.router;
  const int64_t experts = context.config.experts;
  std::vector<std::unique_ptr<BalanceTerm>> terms;
  if (!config.has_gate()) return terms;
  terms.push_back(make_load_balance(config.aux_loss, config.balance.over, experts));
  terms.push_back(make_z_loss(config.z_loss));
  if (config.balance.importance_loss > 0) terms.push_back(make_importance(config.balance.importance_loss));
  if (config.balance.entropy_loss > 0) terms.push_back(make_entropy(config.balance.entropy_loss));
  if (config.kind == "noisy_top_k") {
    terms.push_back(make_load_loss(config.load_loss, context.config.experts_per_token));
  }
  if (config.kind == "supervised") {
    terms.push_back(make_label_loss(config.label_loss, config.labels, experts, context.name));
  }
  return terms;
}

}  // namespace

bool has_fused_kernel(const RouterConfig& config) {
  const BalanceConfig& balance = config.balance;
  return config.kind == "softmax" && config.gate.kind == "linear" && config.capacity.factor == 0 &&
         balance.over == "population" && balance.importance_loss == 0 && balance.entropy_loss == 0 &&
         balance.bias_rate == 0 && balance.jitter == 0;
}

std::unique_ptr<Router> compose_router(const std::string& name, int64_t width, const MoeConfig& config,
                                       const BuildContext& context) {
  Communicator& population = context.mesh.group({Axis::kData, Axis::kTensor}, Purpose::kLayer);
  const RuleContext rule{
      .name = name + ".router", .width = width, .config = config, .build = context, .population = population};
  ComposedRouter::Parts parts{.gate = nullptr,
                              .rule = make_rule(rule),
                              .terms = make_terms(rule),
                              .capacity = nullptr,
                              .experts = config.experts,
                              .experts_per_token = config.experts_per_token,
                              .force_balance = config.router.balance.force};
  if (config.router.has_gate()) {
    parts.gate = std::make_unique<GateNetwork>(rule.name, width, config.experts, config.router.gate,
                                               config.router.balance.jitter, context);
  }
  if (config.router.capacity.factor > 0) {
    parts.capacity = std::make_unique<Capacity>(rule.name, config.router.capacity, config.experts,
                                                config.experts_per_token, context.seed);
  }
  return std::make_unique<ComposedRouter>(std::move(parts), population);
}

std::unique_ptr<Router> make_router(const std::string& name, int64_t width, const MoeConfig& config,
                                    const BuildContext& context) {
  if (has_fused_kernel(config.router)) return std::make_unique<SoftmaxRouter>(name, width, config, context);
  return compose_router(name, width, config, context);
}

}  // namespace switchyard
