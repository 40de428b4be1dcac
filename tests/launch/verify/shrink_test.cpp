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
  const Shrunk shrunk = shrink(large(), 50257, shape);
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
  const Shrunk shrunk = shrink(large(), 50257, MeshShape{.data = 2});
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

TEST(Shrink, LeavesSmallConfigsAsTheyAre) {
  const SmallVerification what;
  const Shrunk shrunk = shrink(what.config, what.vocabulary, MeshShape{.data = 3});
  EXPECT_EQ(shrunk.vocabulary, what.vocabulary);
  EXPECT_EQ(shrunk.config.model.width, what.config.model.width);
  EXPECT_EQ(shrunk.config.model.layers, what.config.model.layers);
  EXPECT_EQ(shrunk.config.data.sequence, what.config.data.sequence);
  EXPECT_EQ(shrunk.config.train.global_batch, what.config.train.global_batch);
}

}  // namespace
}  // namespace switchyard
