#include "launch/bench/step_products.h"

#include <gtest/gtest.h>

#include "launch/train/flops.h"
#include "runtime/comm/exchange.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

RunConfig config() {
  RunConfig config;
  config.model.width = 32;
  config.model.layers = 5;
  config.model.attention = {.heads = 4, .kv_heads = 2, .head_width = 8};
  config.model.feed_forward.width = 48;
  config.model.moe.every = 2;
  config.model.moe.first_dense = 1;
  config.model.moe.experts = 6;
  config.model.moe.experts_per_token = 2;
  config.model.moe.expert_width = 24;
  config.model.moe.shared_experts = 1;
  config.data.sequence = 16;
  config.train.global_batch = 8;
  config.train.accumulation = 2;
  return config;
}

// On every layout the ranks' products together are the multiplications that MFU counts.
TEST(StepProducts, AreTheModelsFlops) {
  const ParallelConfig layouts[] = {{.data = 4, .expert = 1},
                                    {.data = 4, .expert = 2},
                                    {.data = 2, .tensor = 2, .expert = 2, .expert_tensor = 2},
                                    {.data = 2, .tensor = 2, .expert = 4}};
  for (const ParallelConfig& layout : layouts) {
    run_ranks(4, [&](Communicator& world) {
      const RunConfig run = config();
      const auto shape = resolve_mesh(layout, 4, run.model.attention.heads, run.model.attention.kv_heads);
      ASSERT_TRUE(shape.ok()) << shape.status();
      const std::unique_ptr<Mesh> mesh = value_or_throw(Mesh::create(world, *shape));
      constexpr int64_t kVocabulary = 50;
      double flops = 0;
      for (const auto& [products, times] : step_products(run, kVocabulary, *mesh)) {
        flops += flops_of(products) * static_cast<double>(times);
      }
      const double all = value_or_throw(reduce_number(world, flops, ReduceOp::kSum));
      EXPECT_DOUBLE_EQ(all, flops_per_token(run.model, kVocabulary, 16) * 8 * 16);
    });
  }
}

}  // namespace
}  // namespace switchyard
