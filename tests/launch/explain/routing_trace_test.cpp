#include "launch/explain/routing_trace.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/train/assemble.h"
#include "parallel/parameter/initialise.h"
#include "tests/support/decoder_case.h"
#include "tests/support/mesh.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::IsNan;
using testing::Pointwise;

// Says what it was built with.
class FixedRouter : public Router {
 public:
  explicit FixedRouter(RouterOutput output) : output_(std::move(output)) {}
  RouterOutput route(const at::Tensor&, const TokenContext&) override { return output_; }
  ParameterList parameters() override { return {}; }
  void replay(Choice) override {}

 private:
  RouterOutput output_;
};

// Tokens of rank `rank`: one that goes to experts 1 and 0, and on rank 0 another that goes to expert 2 alone.
RouterOutput fixed_output(int rank) {
  const int64_t tokens = rank == 0 ? 2 : 1;
  const at::Tensor p_TE = at::tensor({0.3, 0.5, 0.2, 0.1, 0.15, 0.75}, at::kDouble).view({2, 3});
  RouterOutput output;
  output.routing = {.offsets = at::tensor({0, 2, 3}, at::kLong).narrow(0, 0, tokens + 1),
                    .experts = at::tensor({1, 0, 2}, at::kLong).narrow(0, 0, tokens + 1),
                    .weights = at::tensor({0.6, 0.4, 1.0}, at::kDouble).narrow(0, 0, tokens + 1)};
  output.choice = {.offsets = output.routing.offsets, .experts = output.routing.experts, .kept = {}};
  output.statistics.entropy = 0.25;
  output.probabilities_TE = p_TE.narrow(0, 0, tokens);
  output.ranking_TE = output.probabilities_TE * 2;
  return output;
}

TEST(RoutingRecorder, GathersTokensInRankOrderWithTheirMargins) {
  run_ranks(2, [](Communicator& world) {
    RoutingRecorder recorder;
    const auto router = recorder.decorate(std::make_unique<FixedRouter>(fixed_output(world.rank())));
    (void)router->route(at::zeros({1, 1}), {});
    std::vector<LayerTrace> traces(1);
    ASSERT_TRUE(recorder.append(world, traces).ok());
    if (world.rank() != 0) {
      EXPECT_THAT(traces[0].offsets, ElementsAre(0));
      return;
    }
    EXPECT_THAT(traces[0].offsets, ElementsAre(0, 2, 3, 5));
    EXPECT_THAT(traces[0].chosen, ElementsAre(1, 0, 2, 1, 0));
    EXPECT_THAT(traces[0].weights, ElementsAre(0.6, 0.4, 1.0, 0.6, 0.4));
    EXPECT_THAT(traces[0].probabilities, ElementsAre(0.5, 0.3, 0.75, 0.5, 0.3));
    EXPECT_THAT(traces[0].kept, ElementsAre(true, true, true, true, true));
    EXPECT_THAT(traces[0].scores, ElementsAre(1, 0.6, 1.5, 1, 0.6));
    EXPECT_THAT(traces[0].margins, Pointwise(DoubleNear(1e-15), {0.6, 0.2, 1.2, 0.6, 0.2}));
    EXPECT_EQ(traces[0].entropy, 0.25);
  });
}

TEST(RoutingRecorder, WhereNoExpertIsLeftThereIsNoMargin) {
  run_ranks(1, [](Communicator& world) {
    RoutingRecorder recorder;
    RouterOutput output;
    output.routing = {.offsets = at::tensor({0, 2, 2}, at::kLong),
                      .experts = at::tensor({0, 1}, at::kLong),
                      .weights = at::ones({2}, at::kDouble)};
    output.choice = {.offsets = output.routing.offsets, .experts = output.routing.experts, .kept = {}};
    output.ranking_TE = at::full({2, 2}, 0.5, at::kDouble);
    const auto router = recorder.decorate(std::make_unique<FixedRouter>(output));
    (void)router->route(at::zeros({2, 1}), {});
    std::vector<LayerTrace> traces(1);
    ASSERT_TRUE(recorder.append(world, traces).ok());
    EXPECT_THAT(traces[0].offsets, ElementsAre(0, 2, 2));
    EXPECT_THAT(traces[0].margins, ElementsAre(IsNan(), IsNan()));
  });
}

std::vector<LayerTrace> trace_of_layout(MeshShape shape) {
  const DecoderCase what = small_decoder_case();
  shape.kv_replica = std::max<int>(1, shape.tensor / static_cast<int>(what.model.attention.kv_heads));
  std::vector<LayerTrace> result;
  run_mesh(shape, [&](const Mesh& mesh) {
    RoutingRecorder recorder;
    Decorators decorators;
    decorators.router = [&](std::unique_ptr<Router> router) { return recorder.decorate(std::move(router)); };
    const auto model = assemble(what.model, what.vocabulary, what.dtype, Recompute::kNone, what.seed, mesh, decorators);
    initialise_values(model->parameters(), what.seed);
    std::vector<MoeLayer*> mixtures;
    for (const auto& block : model->blocks()) {
      if (block->moe()) mixtures.push_back(block->moe());
    }
    std::vector<LayerTrace> traces(mixtures.size());
    for (LayerTrace& trace : traces) trace.experts = what.model.moe.experts;
    const at::NoGradGuard no_grad;
    for (int64_t part = 0; part < what.parts; ++part) {
      (void)model->forward(cut_batch(what.steps[0], part, what.parts, mesh.size(Axis::kData), mesh.index(Axis::kData)));
      ASSERT_TRUE(recorder.append(mesh.world(), traces).ok());
    }
    for (size_t i = 0; i < mixtures.size(); ++i) {
      ASSERT_TRUE(recorder.compare_experts(i, *mixtures[i], mesh.world(), traces[i]).ok());
    }
    if (mesh.world().rank() == 0) result = traces;
  });
  return result;
}

TEST(RoutingTrace, IsThatOfOneRankOnEveryLayout) {
  const std::vector<LayerTrace> expected = trace_of_layout(mesh_shape(1));
  ASSERT_FALSE(expected.empty());
  for (const MeshShape& shape :
       {mesh_shape(2, 1, 2), mesh_shape(3, 3, 1), mesh_shape(6, 3, 3, 2), mesh_shape(3, 1, 3)}) {
    SCOPED_TRACE(describe(shape));
    const std::vector<LayerTrace> traces = trace_of_layout(shape);
    ASSERT_EQ(traces.size(), expected.size());
    for (size_t i = 0; i < traces.size(); ++i) {
      EXPECT_EQ(traces[i].offsets, expected[i].offsets);
      EXPECT_EQ(traces[i].chosen, expected[i].chosen);
      EXPECT_THAT(traces[i].weights, Pointwise(DoubleNear(1e-12), expected[i].weights));
      EXPECT_THAT(traces[i].probabilities, Pointwise(DoubleNear(1e-12), expected[i].probabilities));
      EXPECT_THAT(traces[i].margins, Pointwise(DoubleNear(1e-12), expected[i].margins));
      for (size_t e = 0; e < traces[i].similarity.size(); ++e) {
        EXPECT_THAT(traces[i].similarity[e], Pointwise(DoubleNear(1e-9), expected[i].similarity[e]));
        EXPECT_NEAR(traces[i].similarity[e][e], 1, 1e-12);
      }
    }
  }
}

}  // namespace
}  // namespace switchyard
