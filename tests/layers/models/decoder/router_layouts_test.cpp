// Every kind of router in the whole decoder, on layouts that cut its population, experts and tokens every way, against
// one rank in fp64, and some in fp32: losses, norms, every gradient, and parameters and routers' buffers after the
// steps.
#include <set>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/layers/models/decoder/equal_runs.h"

namespace switchyard {
namespace {

struct Kind {
  std::string name;
  std::function<void(MoeConfig&)> change;
};

std::vector<Kind> kinds() {
  const auto kind = [](const char* name, bool balanced, std::function<void(MoeConfig&)> change = nullptr) {
    return Kind{name, [=](MoeConfig& moe) {
                  moe.router.kind = name;
                  if (balanced) moe.router.aux_loss = 0;
                  if (change) change(moe);
                }};
  };
  const auto softmax = [](const char* name, std::function<void(RouterConfig&)> change) {
    return Kind{name, [=](MoeConfig& moe) { change(moe.router); }};
  };
  const auto bayesian = [](const char* explore) {
    return Kind{absl::StrCat("bayesian_", explore), [=](MoeConfig& moe) {
                  moe.router.kind = "bayesian";
                  moe.router.bayesian.clusters = 3;
                  moe.router.bayesian.explore = explore;
                }};
  };
  const auto dense = [](const char* combination, std::function<void(RouterConfig&)> change) {
    return Kind{absl::StrCat("dense_", combination), [=](MoeConfig& moe) {
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
      Kind{"shared_gate_and_up", [](MoeConfig& moe) { moe.shared_gate = true, moe.share = "up"; }},
      Kind{"shared_down", [](MoeConfig& moe) { moe.share = "down"; }},
      Kind{"shared_layers", [](MoeConfig& moe) { moe.share_layers = 2; }},
      kind("bayesian", false, [](MoeConfig& moe) { moe.router.bayesian.clusters = 3; }),
      bayesian("ucb"),
      bayesian("none"),
      kind("noisy_top_k", false, [](MoeConfig& moe) { moe.router.balance.importance_loss = 0.1; }),
      kind("top_p", false, [](MoeConfig& moe) { moe.experts_per_token = 4; }),
      kind("expert_choice", true),
      kind("sinkhorn", true),
      kind("hash", true, [](MoeConfig& moe) { moe.router.z_loss = 0; }),
      Kind{"hash_random",
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

DecoderCase case_of(const Kind& kind) {
  DecoderCase what = small_decoder_case();
  what.steps.resize(3);
  what.lr.resize(3);
  kind.change(what.model.moe);
  throw_if_error(what.model.moe.validate());
  return what;
}

class RouterLayouts : public testing::TestWithParam<Kind> {};

// mesh_shape(ranks, tensor, expert, expert_tensor). A part has three sequences: four data ranks leave one without
// tokens.
TEST_P(RouterLayouts, EqualOneRankInFp64) {
  const DecoderCase what = case_of(GetParam());
  const DecoderRun reference = run_decoder(what, mesh_shape(1));
  for (const MeshShape& shape : {mesh_shape(2, 1, 2), mesh_shape(2, 1, 1, 2), mesh_shape(3, 3), mesh_shape(3, 1, 3),
                                 mesh_shape(4), mesh_shape(4, 1, 2, 2), mesh_shape(6, 3, 2)}) {
    SCOPED_TRACE(describe(shape));
    expect_equal_runs(run_decoder(what, shape), reference, 1e-9, difference);
  }
}

TEST_P(RouterLayouts, RecomputedLayersAreTheSame) {
  DecoderCase what = case_of(GetParam());
  if (what.model.moe.share_layers > 1) GTEST_SKIP() << "recomputed layers share nothing";
  const DecoderRun reference = run_decoder(what, mesh_shape(1));
  what.recompute = Recompute::kLayers;
  expect_equal_runs(run_decoder(what, mesh_shape(2, 1, 2)), reference, 1e-9, difference);
}

std::string name_of(const testing::TestParamInfo<Kind>& kind) {
  return kind.param.name;
}

INSTANTIATE_TEST_SUITE_P(Kinds, RouterLayouts, testing::ValuesIn(kinds()), name_of);

class RouterLayoutsInFp32 : public testing::TestWithParam<Kind> {};

TEST_P(RouterLayoutsInFp32, EqualOneRankRelativeToNorms) {
  DecoderCase what = case_of(GetParam());
  what.dtype = at::kFloat;
  const DecoderRun reference = run_decoder(what, mesh_shape(1));
  for (const MeshShape& shape : {mesh_shape(4, 1, 2, 2), mesh_shape(6, 3, 2)}) {
    SCOPED_TRACE(describe(shape));
    expect_equal_runs(run_decoder(what, shape), reference, 1e-5, relative_to_norm);
  }
}

// Not bayesian, which counts the signs of gradients, and those are a matter of rounding near zero.
std::vector<Kind> kinds_in_fp32() {
  const std::set<std::string> names{"composed_softmax", "sigmoid",    "noisy_top_k",
                                    "sinkhorn",         "supervised", "dense_neural"};
  std::vector<Kind> all = kinds();
  std::erase_if(all, [&](const Kind& kind) { return !names.contains(kind.name); });
  return all;
}

INSTANTIATE_TEST_SUITE_P(Kinds, RouterLayoutsInFp32, testing::ValuesIn(kinds_in_fp32()), name_of);

}  // namespace
}  // namespace switchyard
