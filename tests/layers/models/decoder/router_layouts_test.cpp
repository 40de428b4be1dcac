// Every kind of router in the whole decoder, on layouts that cut its population, experts and tokens every way, against
// one rank in fp64, and some in fp32: losses, norms, every gradient, and parameters and routers' buffers after the
// steps.
#include <set>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/layers/models/decoder/equal_runs.h"
#include "tests/layers/models/decoder/router_kinds.h"

namespace switchyard {
namespace {

class RouterLayouts : public testing::TestWithParam<RouterKind> {};

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

INSTANTIATE_TEST_SUITE_P(Kinds, RouterLayouts, testing::ValuesIn(router_kinds()), name_of);

class RouterLayoutsInFp32 : public testing::TestWithParam<RouterKind> {};

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
std::vector<RouterKind> kinds_in_fp32() {
  const std::set<std::string> names{"composed_softmax", "sigmoid",    "noisy_top_k",
                                    "sinkhorn",         "supervised", "dense_neural"};
  std::vector<RouterKind> all = router_kinds();
  std::erase_if(all, [&](const RouterKind& kind) { return !names.contains(kind.name); });
  return all;
}

INSTANTIATE_TEST_SUITE_P(Kinds, RouterLayoutsInFp32, testing::ValuesIn(kinds_in_fp32()), name_of);

}  // namespace
}  // namespace switchyard
