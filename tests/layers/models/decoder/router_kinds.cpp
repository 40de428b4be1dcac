#include "tests/layers/models/decoder/router_kinds.h"

#include <absl/strings/str_cat.h>

#include "runtime/base/status.h"

namespace switchyard {

std::vector<RouterKind> router_kinds() {
  const auto kind = [](const char* name, bool balanced, std::function<void(MoeConfig&)> change = nullptr) {
    return RouterKind{name, [=](MoeConfig& moe) {
                        moe.router.kind = name;
                        if (balanced) moe.router.aux_loss = 0;
                        if (change) change(moe);
                      }};
  };
  const auto softmax = [](const char* name, std::function<void(RouterConfig&)> change) {
    return RouterKind{name, [=](MoeConfig& moe) { change(moe.router); }};
  };
  const auto bayesian = [](const char* explore) {
    return RouterKind{absl::StrCat("bayesian_", explore), [=](MoeConfig& moe) {
                        moe.router.kind = "bayesian";
                        moe.router.bayesian.clusters = 3;
                        moe.router.bayesian.explore = explore;
                      }};
  };
  const auto dense = [](const char* combination, std::function<void(RouterConfig&)> change) {
    return RouterKind{absl::StrCat("dense_", combination), [=](MoeConfig& moe) {
                        moe.experts_per_token = moe.experts;
                        moe.router.kind = "dense";
                        moe.router.aux_loss = 0;
                        moe.router.combination = combination;
                        change(moe.router);
                      }};
  };
  return {
      softmax("composed_softmax",
              [](RouterConfig& c) {
                c.scale = 1.5;
                c.gate = {.kind = "mlp", .width = 6};
                c.balance = {.over = "running", .importance_loss = 0.1, .entropy_loss = 0.1, .jitter = 0.2};
              }),
      softmax("capacity_by_score", [](RouterConfig& c) { c.capacity = {.factor = 0.9, .drop = "score", .pad = true}; }),
      softmax("capacity_by_position", [](RouterConfig& c) { c.capacity = {.factor = 0.9, .drop = "position"}; }),
      softmax("capacity_at_random", [](RouterConfig& c) { c.capacity = {.factor = 0.9, .drop = "random"}; }),
      softmax("biased_softmax", [](RouterConfig& c) { c.balance.bias_rate = 0.05; }),
      softmax("forced", [](RouterConfig& c) { c.balance.force = true; }),
      kind("sigmoid", false,
           [](MoeConfig& moe) {
             moe.experts = 6;
             moe.router.groups = 3;
             moe.router.groups_per_token = 2;
             moe.router.balance.over = "sequence";
             moe.router.balance.bias_rate = 0.05;
           }),
      RouterKind{"shared_gate_and_up", [](MoeConfig& moe) { moe.shared_gate = true, moe.share = "up"; }},
      RouterKind{"shared_down", [](MoeConfig& moe) { moe.share = "down"; }},
      RouterKind{"shared_layers", [](MoeConfig& moe) { moe.share_layers = 2; }},
      kind("bayesian", false, [](MoeConfig& moe) { moe.router.bayesian.clusters = 3; }),
      bayesian("ucb"),
      bayesian("none"),
      kind("noisy_top_k", false, [](MoeConfig& moe) { moe.router.balance.importance_loss = 0.1; }),
      kind("top_p", false, [](MoeConfig& moe) { moe.experts_per_token = 4; }),
      kind("expert_choice", true),
      kind("sinkhorn", true),
      kind("hash", true, [](MoeConfig& moe) { moe.router.z_loss = 0; }),
      RouterKind{"hash_random",
                 [](MoeConfig& moe) {
                   moe.router.kind = "hash";
                   moe.router.table = "random";
                   moe.router.aux_loss = moe.router.z_loss = 0;
                 }},
      kind("supervised", false, [](MoeConfig& moe) { moe.router.labels = 3; }),
      kind("dense", true, [](MoeConfig& moe) { moe.experts_per_token = moe.experts; }),
      dense("linear", [](RouterConfig& c) { c.z_loss = 0; }),
      dense("neural", [](RouterConfig& c) { c.gate = {.kind = "mlp", .width = 6}; })};
}

DecoderCase case_of(const RouterKind& kind) {
  DecoderCase what = small_decoder_case();
  what.steps.resize(3);
  what.lr.resize(3);
  kind.change(what.model.moe);
  throw_if_error(what.model.moe.validate());
  return what;
}

std::string name_of(const testing::TestParamInfo<RouterKind>& kind) {
  return kind.param.name;
}

}  // namespace switchyard
