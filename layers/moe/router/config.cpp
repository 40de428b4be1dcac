#include "layers/moe/router/config.h"

#include <cmath>
#include <vector>

#include <absl/strings/str_cat.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

struct Rule {
  bool broken;
  std::string reason;
};

// Keys that mean something for one kind only.
std::vector<Rule> keys_of_other_kinds(const RouterConfig& c) {
  const RouterConfig defaults;
  const auto alone = [&](bool changed, const char* key, const char* kind) {
    return Rule{changed && c.kind != kind, absl::StrCat(key, " belongs to kind ", kind)};
  };
  return {alone(c.top_k_first, "top_k_first", "softmax"),
          alone(c.groups != 1 || c.groups_per_token != 1, "groups", "sigmoid"),
          alone(c.probability != defaults.probability, "probability", "top_p"),
          alone(c.iterations != defaults.iterations, "iterations", "sinkhorn"),
          alone(c.load_loss != defaults.load_loss, "load_loss", "noisy_top_k"),
          alone(c.table != defaults.table, "table", "hash"),
          alone(c.combination != defaults.combination, "combination", "dense"),
          alone(c.labels != defaults.labels || c.label_loss != defaults.label_loss, "labels", "supervised"),
          alone(!(c.bayesian == defaults.bayesian), "the bayesian section", "bayesian")};
}

// Keys that nothing would heed beside the others.
std::vector<Rule> keys_without_effect(const RouterConfig& c) {
  const RouterConfig defaults;
  const BalanceConfig& b = c.balance;
  const auto weighs = [&c](const char* kind, const char* weights) {
    return Rule{!c.renormalise && c.kind == kind, absl::StrCat("renormalise: false changes nothing for ", kind,
                                                               ", whose weights ", weights, "; leave it out")};
  };
  return {weighs("noisy_top_k", "are a softmax over the chosen experts"),
          weighs("hash", "are all equal"),
          weighs("dense", "are never renormalised"),
          {c.gate.width != defaults.gate.width && c.gate.kind != "mlp",
           "gate.width is the hidden width of gate.kind: mlp; a linear gate has none"},
          {b.over != defaults.balance.over && c.aux_loss == 0,
           "balance.over says which tokens aux_loss balances, and aux_loss is 0; leave it out"},
          {b.force && (b.jitter > 0 || b.bias_rate > 0),
           "balance.force replaces the choice that balance.jitter and balance.bias_rate act on; set these to 0"},
          {c.capacity.pad && c.capacity.factor == 0, "capacity.pad needs a capacity.factor"},
          {c.capacity.drop != defaults.capacity.drop && c.capacity.factor == 0,
           "capacity.drop needs a capacity.factor; without one nothing is dropped"},
          {c.bayesian.strength != defaults.bayesian.strength && c.bayesian.explore != "ucb",
           "bayesian.strength belongs to bayesian.explore: ucb"}};
}

std::vector<Rule> gate_and_balance(const RouterConfig& c) {
  const BalanceConfig& b = c.balance;
  const bool losses = c.aux_loss > 0 || c.z_loss > 0 || b.importance_loss > 0 || b.entropy_loss > 0 || b.jitter > 0;
  const std::string what = c.kind == "dense" ? "dense with combination linear" : c.kind;
  const bool chooses = c.kind != "hash" && c.kind != "dense";
  return {
      {!c.has_gate() && losses, absl::StrCat(what,
                                             " has no gate that a loss could move or jitter disturb; set aux_loss: "
                                             "0, z_loss: 0 and leave the balance section out")},
      {!c.has_gate() && c.gate.kind != "linear", absl::StrCat(what, " has no gate; leave the gate section out")},
      {c.kind == "dense" && c.combination == "neural" && c.gate.kind != "mlp",
       "combination neural needs gate.kind: mlp"},
      {c.kind == "dense" && c.combination == "weighted" && c.gate.kind != "linear",
       "combination weighted has a linear gate; combination neural has an mlp"},
      {(c.kind == "dense" || c.kind == "expert_choice") && c.aux_loss > 0,
       absl::StrCat(c.kind, " gives every expert the same load by construction; set aux_loss: 0")},
      {b.bias_rate > 0 && c.kind != "softmax" && c.kind != "sigmoid",
       "balance.bias_rate moves the scores that kinds softmax and sigmoid choose by"},
      {b.force && (!chooses || c.kind == "expert_choice" || c.kind == "top_p"),
       absl::StrCat("balance.force replaces a choice of experts_per_token experts, which ", c.kind, " does not make")}};
}

std::vector<Rule> choice(const RouterConfig& c, int64_t experts, int64_t k) {
  return {
      {k > experts,
       absl::StrCat("experts_per_token=", k, " is more than experts=", experts, "; use at most ", experts)},
      {c.top_k_first && !c.renormalise, "with top_k_first the weights add up to 1 as it is; leave renormalise: true"},
      {experts % c.groups != 0, absl::StrCat("groups=", c.groups, " does not divide experts=", experts)},
      {c.groups_per_token > c.groups,
       absl::StrCat("groups_per_token=", c.groups_per_token, " is more than groups=", c.groups)},
      {k > c.groups_per_token * (experts / c.groups),
       absl::StrCat("experts_per_token=", k, " is more than the ", c.groups_per_token * (experts / c.groups),
                    " experts of groups_per_token=", c.groups_per_token, " groups")},
      {c.kind == "top_p" && k == 1, "top_p with experts_per_token=1 can't vary the number of experts; use softmax"},
      {c.kind == "dense" && k != experts,
       absl::StrCat("dense sends every token to all experts; set experts_per_token: ", experts)},
      {c.kind == "supervised" && c.labels > experts,
       absl::StrCat("labels=", c.labels, " is more than experts=", experts, ": each label owns at least one")},
      {c.capacity.factor > 0 && (c.kind == "expert_choice" || c.kind == "dense"),
       absl::StrCat("capacity.factor makes no sense with ", c.kind, ", whose experts all take the same number")}};
}

}  // namespace

absl::Status RouterConfig::validate_for(int64_t experts, int64_t experts_per_token) const {
  for (const std::vector<Rule>& rules : {keys_of_other_kinds(*this), choice(*this, experts, experts_per_token),
                                         gate_and_balance(*this), keys_without_effect(*this)}) {
    for (const Rule& rule : rules) {
      if (rule.broken) return error(ErrorCategory::kBadConfig, rule.reason);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> slots_per_expert(double factor, int64_t population, int64_t experts_per_token,
                                         int64_t experts) {
  // A factor such as 1.1 is a little less than it says; what is whole up to rounding is whole.
  const double share =
      factor * static_cast<double>(population) * static_cast<double>(experts_per_token) / static_cast<double>(experts);
  const auto slots = static_cast<int64_t>(std::floor(share * (1 + 1e-12)));
  if (slots > 0) return slots;
  return error(
      ErrorCategory::kBadConfig,
      absl::StrCat("an expert's capacity rounds to zero: ", factor, " · ", population, " tokens of a part · ",
                   experts_per_token, " experts a token / ", experts,
                   " experts; raise train.global_batch, experts_per_token or, where there is one, capacity.factor, or "
                   "lower train.accumulation"));
}

}  // namespace switchyard
