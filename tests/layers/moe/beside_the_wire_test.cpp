// What a mixture layer computes while its rows are on their way, by the order in which it comes to things.
#include <algorithm>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/trace/listener.h"
#include "parallel/parameter/initialise.h"
#include "tests/layers/moe/make_layer.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

using Names = std::vector<std::string>;

constexpr int64_t kTokens = 30;  // of a rank

// What this rank does in a forward and its backward, in the order in which it has done it.
Names heard(const MoeConfig& config, const Mesh& mesh) {
  const auto layer = make_layer(config, mesh);
  initialise_values(layer->parameters(), 11);
  attach_plain_gradients(layer->parameters());
  const at::Tensor x_TD = at::sin(at::arange(kTokens * kWidth, at::kDouble)).view({kTokens, kWidth});
  x_TD.set_requires_grad(true);
  Recorder recorder;
  recorder.record_spans(true);
  {
    const Listener listener(recorder);
    const TokenContext context{.tokens = {},
                               .tags = {},
                               .first_token = kTokens * mesh.world().rank(),
                               .data_rank_tokens = kTokens,
                               .population = kTokens * mesh.world().size()};
    layer->forward(x_TD, context).y_tD.sum().backward();
  }
  Names names;
  for (const Span& span : recorder.take_spans()) names.push_back(span.name);
  return names;
}

Names only(const Names& wanted, Names names) {
  std::erase_if(names, [&](const std::string& name) { return std::count(wanted.begin(), wanted.end(), name) == 0; });
  return names;
}

Names times(int64_t count, const std::string& name) {
  return Names(count, name);
}

Names one_after_another(const std::vector<Names>& parts) {
  Names all;
  for (const Names& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// All is planned at once, and each chunk's dispatch has a beginning and an end; in backward the latter comes first, and
// sends.
TEST(BesideTheWire, SharedExpertsAreComputedWhileRowsTravel) {
  const MoeConfig config{.experts = 4, .experts_per_token = 2, .expert_width = 8, .shared_experts = 1, .router = {}};
  for (const int64_t chunks : {1, 3}) {
    for (const std::vector<int>& nodes : {std::vector<int>{}, {0, 1}}) {
      MeshShape shape = mesh_shape(2, 1, 2);
      shape.dispatch_chunks = static_cast<int>(chunks);
      const auto body = [&](const Mesh& mesh) {
        const Names names = heard(config, mesh);
        EXPECT_EQ(only({"dispatch", "shared experts"}, names),
                  one_after_another({times(1 + chunks, "dispatch"), {"shared experts"}, times(chunks, "dispatch")}));
        // Shared experts alone are made of linear layers: down and up.
        EXPECT_EQ(only({"EndDispatch backward", "LinearFunction backward", "BeginDispatch backward"}, names),
                  one_after_another({times(chunks, "EndDispatch backward"), times(2, "LinearFunction backward"),
                                     times(chunks, "BeginDispatch backward")}));
      };
      run_mesh(shape, body, nodes);
    }
  }
}

TEST(BesideTheWire, ChunksAreAsManyAsAModelMakesOfTheTokensOfAPart) {
  const MoeConfig config{.experts = 4, .experts_per_token = 2, .expert_width = 8, .router = {}};
  for (const int ranks : {1, 2}) {
    run_mesh(mesh_shape(ranks, 1, ranks), [&](Mesh& mesh) {
      mesh.settle_dispatch(
          DispatcherKind::kAllToAll, [](int64_t part_tokens) { return part_tokens > kTokens ? 4 : 2; }, kTokens);
      EXPECT_EQ(mesh.shape().dispatch_chunks, 2);
      const int chunks = ranks == 1 ? 2 : 4;
      EXPECT_EQ(only({"EndDispatch backward"}, heard(config, mesh)), times(chunks, "EndDispatch backward"));
    });
  }
}

TEST(BesideTheWire, MatricesGetTheirGradientsWhileWhatChunksSendBackTravels) {
  MeshShape shape = mesh_shape(1);
  shape.dispatch_chunks = 3;
  run_mesh(shape, [](const Mesh& mesh) {
    const Names names = heard({.experts = 3, .experts_per_token = 2, .expert_width = 8, .router = {}}, mesh);
    EXPECT_EQ(only({"EndDispatch backward", "BeginChunks backward", "BeginDispatch backward"}, names),
              one_after_another(
                  {times(3, "EndDispatch backward"), {"BeginChunks backward"}, times(3, "BeginDispatch backward")}));
  });
}

}  // namespace
}  // namespace switchyard
