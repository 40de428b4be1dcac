#include "launch/verify/shrink.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/launch/verify/small_verification.h"

namespace switchyard {
namespace {

RunConfig large() {
  RunConfig config;
  DecoderConfig& model = config.model;
  model.width = 4096;
  model.layers = 32;
  model.attention = {.heads = 32, .kv_heads = 2, .head_width = 128};
  model.feed_forward.width = 14335;
  model.moe.every = 2;
  model.moe.first_dense = 3;
  model.moe.experts = 7;
  model.moe.expert_width = 2047;
  model.moe.experts_per_token = 3;
  model.moe.shared_experts = 2;
  config.data.train = "random";
  config.data.sequence = 4095;
  config.train.global_batch = 1023 * 8;
  config.train.accumulation = 8;
  return config;
}

TEST(Shrink, KeepsWhatLayoutsDependOn) {
  const MeshShape shape{.data = 2, .tensor = 4, .expert_data = 1, .expert = 4, .expert_tensor = 2, .kv_replica = 2};
  const Shrunk shrunk = value_or_throw(shrink(large(), 50257, shape));
  const RunConfig& small = shrunk.config;
  EXPECT_EQ(small.model.attention.heads, 32);
  EXPECT_EQ(small.model.attention.kv_heads, 2);
  EXPECT_EQ(small.model.moe.experts, 7);
  EXPECT_EQ(small.model.moe.experts_per_token, 3);
  EXPECT_EQ(small.model.moe.shared_experts, 2);
  EXPECT_EQ(small.model.moe.every, 2);
  EXPECT_EQ(small.model.feed_forward.width % 4, 14335 % 4);
  EXPECT_EQ(small.model.moe.expert_width % 2, 2047 % 2);
  EXPECT_EQ(shrunk.vocabulary % 4, 50257 % 4);
  EXPECT_EQ(small.data.sequence % 4, 4095 % 4);
  EXPECT_EQ(small.train.global_batch / small.train.accumulation % 2, 1023 % 2);
  EXPECT_GT(small.train.accumulation, 1);
  // A dense layer before the first mixture, one between, and a second mixture.
  EXPECT_EQ(small.model.layers, 4);
  EXPECT_FALSE(small.model.is_moe_layer(0));
  EXPECT_TRUE(small.model.is_moe_layer(1));
  EXPECT_FALSE(small.model.is_moe_layer(2));
  EXPECT_TRUE(small.model.is_moe_layer(3));
}

TEST(Shrink, CutsToWhatTakesSeconds) {
  const Shrunk shrunk = value_or_throw(shrink(large(), 50257, MeshShape{.data = 2}));
  const RunConfig& small = shrunk.config;
  EXPECT_LE(small.model.width, 64);
  EXPECT_LE(small.model.attention.head_width, 16);
  EXPECT_LE(small.train.global_batch * small.data.sequence, 1000);
  EXPECT_LE(shrunk.vocabulary, 1000);
  // x·W keeps its size: the variance of a product is width · scale².
  EXPECT_NEAR(small.model.init_scale * std::sqrt(small.model.width), large().model.init_scale * std::sqrt(4096.0),
              1e-12);
  EXPECT_THAT(shrunk.changes, testing::HasSubstr("model.width 4096 → 32"));
  EXPECT_THAT(shrunk.changes, testing::HasSubstr("vocabulary 50257 → 640"));
}

// Many experts that share few tokens.
RunConfig limited(const std::string& kind, double factor) {
  RunConfig config = large();
  MoeConfig& moe = config.model.moe;
  moe.experts = 128;
  moe.experts_per_token = 1;
  moe.router.kind = kind;
  moe.router.capacity.factor = factor;
  if (kind == "expert_choice") moe.router.aux_loss = 0;
  return config;
}

TEST(Shrink, LeavesTokensForTheSlotsOfLimitedExperts) {
  const MeshShape shape{.data = 2, .tensor = 4};
  for (const RunConfig& config : {limited("expert_choice", 0), limited("softmax", 1), limited("softmax", 0.25)}) {
    const Shrunk shrunk = value_or_throw(shrink(config, 50257, shape));
    const RunConfig& small = shrunk.config;
    EXPECT_GE(value_or_throw(small.expert_slots()), 2);
    EXPECT_LE(value_or_throw(small.expert_slots()), 3);
    EXPECT_EQ(small.data.sequence % 4, 4095 % 4);
    EXPECT_EQ(small.train.global_batch / small.train.accumulation % 2, 1023 % 2);
  }
}

TEST(Shrink, LeavesTokensForTheOneSlotThatThereIs) {
  for (const char* kind : {"expert_choice", "softmax"}) {
    RunConfig config = limited(kind, std::string(kind) == "softmax" ? 0.5 : 0);
    config.train.global_batch = 3;
    config.train.accumulation = 1;
    config.data.sequence = std::string(kind) == "softmax" ? 90 : 45;  // 135 tokens are 1 slot
    const Shrunk shrunk = value_or_throw(shrink(config, 50257, MeshShape{.data = 2}));
    EXPECT_EQ(value_or_throw(shrunk.config.expert_slots()), 1);
    EXPECT_EQ(shrunk.config.train.global_batch, 3);
  }
}

TEST(Shrink, LayersGoOnSharingExperts) {
  RunConfig config = large();
  config.model.moe.share_layers = 5;
  const RunConfig small = value_or_throw(shrink(config, 50257, MeshShape{.data = 2})).config;
  EXPECT_EQ(small.model.moe.share_layers, 2);
  EXPECT_EQ(small.model.moe_layer_count(), 3) << "two that share experts, and one that does not share these";
}

TEST(Shrink, RefusesToMakeWhatNoRunWouldTake) {
  RunConfig config = large();
  config.model.attention.kv_heads = 3;  // of 32 heads
  EXPECT_EQ(error_category(shrink(config, 50257, MeshShape{}).status()), ErrorCategory::kBadConfig);
}

TEST(Shrink, LeavesSmallConfigsAsTheyAre) {
  const SmallVerification what;
  const Shrunk shrunk = value_or_throw(shrink(what.config, what.vocabulary, MeshShape{.data = 3}));
  EXPECT_EQ(shrunk.vocabulary, what.vocabulary);
  EXPECT_EQ(shrunk.config.model.width, what.config.model.width);
  EXPECT_EQ(shrunk.config.model.layers, what.config.model.layers);
  EXPECT_EQ(shrunk.config.data.sequence, what.config.data.sequence);
  EXPECT_EQ(shrunk.config.train.global_batch, what.config.train.global_batch);
}

}  // namespace
}  // namespace switchyard
