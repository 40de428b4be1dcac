#include "launch/train/expert_use.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/train/assemble.h"
#include "launch/train/moe_metrics.h"
#include "parallel/gradient/reducer.h"
#include "parallel/optimizer/adamw.h"
#include "runtime/base/status.h"
#include "tests/support/decoder_case.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

using testing::ElementsAre;

struct Pass {
  MoeFigures figures;
  std::map<int64_t, ExpertUse> use;
};

// One step of `what` in evaluation, as every rank sees it.
Pass run_pass(const DecoderCase& what, MeshShape shape, const std::vector<std::string>& tags) {
  Pass pass;
  shape.kv_replica = std::max<int>(1, shape.tensor / static_cast<int>(what.model.attention.kv_heads));
  run_mesh(shape, [&](const Mesh& mesh) {
    const at::NoGradGuard no_grad;
    auto model = assemble(what.model, what.vocabulary, at::dtype(what.dtype), Recompute::kNone, what.seed, mesh);
    GradientReducer reducer(model->parameters(), mesh, {});
    ShardedAdamW(reducer, mesh, what.optimizer).initialise_all(what.seed);
    MoeMetrics moe(*model);
    ExpertUseCounter use(*model, mesh, tags);
    for (int64_t part = 0; part < what.parts; ++part) {
      TokenBatch batch = cut_batch(what.steps[0], part, what.parts, mesh.size(Axis::kData), mesh.index(Axis::kData));
      batch.training = false;
      model->forward(batch);
      moe.add_part(batch.part_tokens);
      use.add(batch);
    }
    const auto taken = value_or_throw(use.take());
    if (mesh.world().rank() == mesh.world().size() - 1) pass = {moe.take(), taken};
  });
  return pass;
}

// Token id i goes to experts 2i and 2i + 1 of four.
DecoderCase hashed(const std::vector<int64_t>& ids, const std::vector<int64_t>& tags) {
  DecoderCase what = small_decoder_case();
  what.model.layers = 2;
  what.model.moe.experts = 4;
  what.model.moe.router.kind = "hash";
  what.model.moe.router.aux_loss = what.model.moe.router.z_loss = 0;
  what.parts = 1;
  GlobalStep step = random_step(2, static_cast<int64_t>(ids.size()) / 2, what.vocabulary, 4, 1);
  step.tokens = at::tensor(ids);
  step.tags = at::tensor(tags);
  what.steps = {step};
  return what;
}

TEST(ExpertUse, CountsWhatWasChosenTogetherAndForWhichSource) {
  const DecoderCase what = hashed({0, 0, 0, 1, 1, 0}, {0, 0, 1, 1, -1, -1});
  const Pass pass = run_pass(what, mesh_shape(2), {"a", "b"});
  ASSERT_EQ(pass.use.size(), 1U);
  const ExpertUse& use = pass.use.at(1);
  ASSERT_EQ(use.pairs.size(), 2U);
  EXPECT_THAT((std::vector<int64_t>{use.pairs[0].first, use.pairs[0].second}), ElementsAre(0, 1));
  EXPECT_THAT((std::vector<int64_t>{use.pairs[1].first, use.pairs[1].second}), ElementsAre(2, 3));
  EXPECT_EQ(use.pairs[0].together, 1);
  EXPECT_DOUBLE_EQ(use.coactivation, 2.0 / 6);  // two pairs of six, always together
  ASSERT_EQ(use.sources.size(), 3U);            // nothing has a later tag
  EXPECT_EQ(use.sources[0].first, "a");
  EXPECT_THAT(use.sources[0].second, ElementsAre(0.5, 0.5, 0, 0));
  EXPECT_EQ(use.sources[1].first, "b");
  EXPECT_THAT(use.sources[1].second, ElementsAre(0.25, 0.25, 0.5, 0.5));
  EXPECT_EQ(use.sources[2].first, "(none)");
  EXPECT_THAT(use.sources[2].second, ElementsAre(0.25, 0.25, 0.5, 0.5));
  EXPECT_EQ(pass.figures.layers.at(1).at("experts_per_token"), 2);
}

TEST(ExpertUse, LaterTagsAreTogether) {
  const int64_t last = kNamedSources + 1;
  const std::vector<std::string> tags(kNamedSources + 2, "named");
  const ExpertUse use = run_pass(hashed({0, 0, 0, 0}, {last, last - 1, last, 3}), mesh_shape(1), tags).use.at(1);
  ASSERT_EQ(use.sources.size(), 2U);
  EXPECT_EQ(use.sources[0].first, "named");
  EXPECT_EQ(use.sources[1].first, "(others)");
  EXPECT_EQ(use.sources[1].second[0], 0.75);
}

TEST(ExpertUse, WithoutTagsThereAreNoSources) {
  DecoderCase what = small_decoder_case();
  what.steps[0].tags = at::Tensor();
  const Pass pass = run_pass(what, mesh_shape(1), {});
  for (const auto& [layer, use] : pass.use) EXPECT_TRUE(use.sources.empty());
}

TEST(ExpertUse, IsTheSameOnEveryLayout) {
  for (const char* kind : {"softmax", "top_p", "expert_choice"}) {
    DecoderCase what = small_decoder_case();
    what.model.moe.router.kind = kind;
    what.model.moe.experts_per_token = 3;
    what.model.attention.kv_heads = 1;
    const std::vector<std::string> tags{"x", "y", "z"};
    const Pass alone = run_pass(what, mesh_shape(1), tags);
    ASSERT_EQ(alone.use.size(), 2U);
    EXPECT_FALSE(alone.use.at(1).pairs.empty());
    EXPECT_GT(alone.use.at(1).sources.size(), 1U);
    // The second has ranks without a sequence.
    for (const MeshShape& shape : {mesh_shape(2), mesh_shape(4), mesh_shape(2, 2), mesh_shape(3, 1, 3),
                                   mesh_shape(4, 2, 2), mesh_shape(4, 2, 2, 2), mesh_shape(6, 3, 2)}) {
      SCOPED_TRACE(std::string(kind) + ", " + describe(shape));
      const Pass spread = run_pass(what, shape, tags);
      for (const auto& [layer, use] : alone.use) {
        const ExpertUse& other = spread.use.at(layer);
        EXPECT_EQ(other.coactivation, use.coactivation);
        EXPECT_EQ(other.sources, use.sources);
        ASSERT_EQ(other.pairs.size(), use.pairs.size());
        for (size_t i = 0; i < use.pairs.size(); ++i) {
          EXPECT_EQ(other.pairs[i].first, use.pairs[i].first);
          EXPECT_EQ(other.pairs[i].second, use.pairs[i].second);
          EXPECT_EQ(other.pairs[i].together, use.pairs[i].together);
        }
        for (const auto& [name, value] : alone.figures.layers.at(layer)) {
          EXPECT_NEAR(spread.figures.layers.at(layer).at(name), value, 1e-12) << name;
        }
      }
    }
  }
}

// Of a part's three tokens an expert takes one: the first part loses four slots of six, the second two.
TEST(MoeMetrics, CountWhatACapacityDropsOverAllParts) {
  DecoderCase what = hashed({0, 0, 0, 1, 1, 0}, {-1, -1, -1, -1, -1, -1});
  what.parts = 2;
  what.model.moe.router.capacity.factor = 1;
  for (const int ranks : {1, 2}) {
    const std::map<std::string, double> figures = run_pass(what, mesh_shape(ranks), {}).figures.layers.at(1);
    EXPECT_DOUBLE_EQ(figures.at("drop_rate"), 0.5);
    EXPECT_DOUBLE_EQ(figures.at("experts_per_token"), 2);
    EXPECT_DOUBLE_EQ(figures.at("load_max"), 4.0 / 3);
  }
}

TEST(MoeMetrics, MeansOverPartsAreThoseOfTheStep) {
  DecoderCase what = hashed({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, std::vector<int64_t>(12, -1));
  what.model.moe.router.kind = "softmax";
  what.model.moe.router.capacity.factor = 0.5;
  const MoeFigures one = run_pass(what, mesh_shape(1), {}).figures;
  what.parts = 2;
  const MoeFigures two = run_pass(what, mesh_shape(1), {}).figures;
  EXPECT_GT(one.layers.at(1).at("entropy"), 0);
  EXPECT_NEAR(two.layers.at(1).at("entropy"), one.layers.at(1).at("entropy"), 1e-12);
  EXPECT_NEAR(two.all.at("z_loss"), one.all.at("z_loss"), 1e-12);
  EXPECT_GE(one.layers.at(1).at("drop_rate"), 0.5);      // 3 slots an expert of 24 slots
  EXPECT_GE(two.layers.at(1).at("drop_rate"), 2.0 / 3);  // 1 slot an expert of 12, twice
  EXPECT_LE(two.layers.at(1).at("drop_rate"), 1 - 2.0 / 24);
}

}  // namespace
}  // namespace switchyard
