#include "launch/bench/layer_bench.h"

#include <gtest/gtest.h>

#include "launch/bench/products_floor.h"
#include "launch/trace/listener.h"
#include "runtime/base/status.h"
#include "runtime/comm/host_communicator.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

LayerBenchOptions small() {
  return {.tokens = 64,
          .width = 32,
          .expert_width = 16,
          .experts = 8,
          .experts_per_token = 2,
          .precision = "fp32",
          .repeats = 3};
}

LayerBench bench(const LayerBenchOptions& options, int ranks, const LoopbackOptions& loopback = {}) {
  LayerBench result;
  run_ranks(
      ranks,
      [&](Communicator& world) {
        Recorder recorder;
        auto& wires = dynamic_cast<HostCommunicator&>(world);
        wires.observe(record_wires(recorder));
        const absl::StatusOr<LayerBench> mine = bench_layer(options, recorder, world);
        ASSERT_TRUE(mine.ok()) << mine.status();
        if (world.rank() == 0) result = *mine;
        wires.observe(nullptr);
      },
      loopback);
  return result;
}

TEST(LayerBench, EveryPartTakesTime) {
  const LayerBench result = bench(small(), 2);
  EXPECT_GT(result.forward_ms, 0);
  EXPECT_GT(result.backward_ms, 0);
  EXPECT_GT(result.floor_ms, 0);
  EXPECT_GT(result.peak_gflops, 0);
  for (const char* part : {"route", "permute", "wire", "experts", "combine", "rest"}) {
    EXPECT_GT(result.split_ms.at(part), 0) << part;
  }
  // Six products of [rows, 32] and widths 32 (gate and up) and 16, two FLOPs a multiply-add.
  EXPECT_DOUBLE_EQ(result.gflops, 6.0 * (64 * 2) * 32 * (32 + 16) / 1e9);
}

// Every slot's row travels four times: out and back, forward and backward.
TEST(LayerBench, BytesByTierAddUpToAllRows) {
  const double all = 4.0 * (64 * 2) * 32 * sizeof(float);
  const LayerBench alone = bench(small(), 1);
  EXPECT_EQ(alone.own_bytes, all);
  EXPECT_EQ(alone.node_bytes + alone.remote_bytes, 0);
  const LayerBench spread = bench(small(), 4, {.nodes = {0, 0, 1, 1}});
  // What the ranks tell each other of counts comes to some hundred bytes more, and what losses sum.
  const double others = static_cast<double>(spread.node_bytes + spread.remote_bytes);
  EXPECT_NEAR(spread.own_bytes + others, 4 * all, 0.05 * all);
  EXPECT_GE(spread.own_bytes + others, 4 * all);
  EXPECT_GT(spread.node_bytes, 0);
  EXPECT_GT(spread.remote_bytes, spread.node_bytes);  // two ranks there, one here
}

TEST(LayerBench, SkewMakesTheFirstExpertsTheBusiest) {
  LayerBenchOptions options = small();
  options.skew = 1.2;
  const LayerBench skewed = bench(options, 2);
  // Of 8 experts and 2 a token the first one gets about three quarters of the tokens: 3 times the mean of a quarter.
  EXPECT_GT(skewed.load_imbalance, 2);
  EXPECT_LT(skewed.load_imbalance, 4);
  EXPECT_GT(skewed.gflops, bench(small(), 2).gflops);  // the floor is that of the rank with most rows
}

TEST(LayerBench, RefusesWhatDoesNotGoTogether) {
  Recorder recorder;
  Loopback loopback(1);
  LayerBenchOptions options = small();
  options.experts_per_token = 9;
  EXPECT_EQ(error_category(bench_layer(options, recorder, loopback.rank(0)).status()), ErrorCategory::kBadConfig);
  options = small();
  options.expert_tensor = 2;
  EXPECT_EQ(error_category(bench_layer(options, recorder, loopback.rank(0)).status()), ErrorCategory::kBadConfig);
}

}  // namespace
}  // namespace switchyard
