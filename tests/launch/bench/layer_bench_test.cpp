#include "launch/bench/layer_bench.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/bench/products_floor.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "tests/launch/bench/bench_ranks.h"
#include "tests/support/little_address_space.h"

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

LayerBench bench(const LayerBenchOptions& options, int ranks, const std::vector<int>& nodes = {}) {
  return bench_on_ranks<LayerBench>(ranks, nodes, "/dispatch", [&](Recorder& recorder, Communicator& world) {
    return bench_layer(options, recorder, world);
  });
}

TEST(LayerBench, EveryPartTakesTime) {
  const LayerBench result = bench(small(), 2);
  EXPECT_GT(result.forward_ms, 0);
  EXPECT_GT(result.backward_ms, 0);
  EXPECT_GT(result.floor_ms, 0);
  EXPECT_GT(result.peak_gflops, 0);
  EXPECT_GT(result.memory_bytes, int64_t{1} << 20);
  for (const std::string& part : layer_parts()) EXPECT_GT(result.split_ms.at(part), 0) << part;
  // Six products of [rows, 32] and widths 32 (gate and up) and 16, two FLOPs a multiply-add.
  EXPECT_DOUBLE_EQ(result.gflops, 6.0 * (64 * 2) * 32 * (32 + 16) / 1e9);
}

// Every slot's row travels four times: out and back, forward and backward.
TEST(LayerBench, BytesByTierAddUpToAllRows) {
  const double all = 4.0 * (64 * 2) * 32 * sizeof(float);
  const LayerBench alone = bench(small(), 1);
  EXPECT_EQ(alone.bytes.own, all);
  EXPECT_EQ(alone.bytes.node + alone.bytes.remote, 0);
  const LayerBench spread = bench(small(), 4, {0, 0, 1, 1});
  // Ranks also tell the three others how many rows each of two experts gets, in 8 bytes; and the one that shares their
  // memory where these rows begin, and where what the experts made of them does, forward and backward.
  const double counts = 3 * 2 * 8, places = 2 * 2 * 2 * 8;
  EXPECT_EQ(spread.bytes.own + spread.bytes.node + spread.bytes.remote, all + counts + places);
  EXPECT_GT(spread.bytes.node, 0);
  EXPECT_GT(spread.bytes.remote, spread.bytes.node);  // two ranks there, one here
  LayerBenchOptions sending = small();
  sending.shared_memory = false;
  const LayerBench sent = bench(sending, 4, {0, 0, 1, 1});
  EXPECT_EQ(sent.bytes.node + places, spread.bytes.node);
  EXPECT_EQ(sent.bytes.remote, spread.bytes.remote);
  EXPECT_EQ(sent.by_messages, "");  // as it was asked for
}

TEST(LayerBench, SaysWhyRowsGoByMessages) {
  at::set_num_threads(1);  // threads need addresses too
  EXPECT_EQ(bench(small(), 2).by_messages, "");
  const LittleAddressSpace little;
  EXPECT_THAT(bench(small(), 2).by_messages, testing::HasSubstr("no addresses for shared memory"));
}

TEST(LayerBench, DispatchesAsAsked) {
  LayerBenchOptions options = small();
  options.dispatcher = "hierarchical";
  options.chunks = 2;
  const LayerBench result = bench(options, 2);
  EXPECT_EQ(result.dispatcher, "hierarchical");
  EXPECT_EQ(result.chunks, 2);
}

TEST(LayerBench, SaysWhatAutoSettledAndMovesItsRows) {
  LayerBenchOptions options = small();
  options.dispatcher = "auto";
  options.chunks = 0;
  const LayerBench settled = bench(options, 2);
  EXPECT_THAT(settled.dispatcher, testing::AnyOf("all_to_all", "deduplicated", "hierarchical"));
  EXPECT_GE(settled.chunks, 1);
  options.dispatcher = settled.dispatcher;
  options.chunks = settled.chunks;
  const LayerBench named = bench(options, 2);
  EXPECT_EQ(named.dispatcher, settled.dispatcher);
  EXPECT_EQ(named.chunks, settled.chunks);
  EXPECT_EQ(named.bytes.own, settled.bytes.own);
  EXPECT_EQ(named.bytes.node, settled.bytes.node);
  EXPECT_EQ(named.bytes.remote, settled.bytes.remote);
}

TEST(LayerBench, AutoCutsNothingWhereRanksShareMemory) {
  LayerBenchOptions options = small();
  options.chunks = 0;
  EXPECT_EQ(bench(options, 2).chunks, 1);
  options.dispatcher = "auto";
  const LayerBench alone = bench(options, 1);  // nothing to choose
  EXPECT_EQ(alone.dispatcher, "all_to_all");
  EXPECT_EQ(alone.chunks, 1);
}

TEST(LayerBench, TheFloorIsOfTheBusiestRank) {
  const double row = 6.0 * 32 * (32 + 16) / 1e9;
  LayerBenchOptions options = small();
  options.experts = 5;  // of which one rank has three
  EXPECT_NEAR(bench(options, 2).gflops, row * 2 * 64 * 2 * 3 / 5, row * 3);
  options.experts = 2;  // so that two of four ranks have none
  EXPECT_NEAR(bench(options, 4).gflops, row * 4 * 64 * 2 / 2, row);
  options = small();
  options.expert_tensor = 2;  // half of each expert
  EXPECT_NEAR(bench(options, 2).gflops, row / 2 * 2 * 64 * 2, 1e-12);
}

TEST(LayerBench, TakesEveryRouterThatItOffers) {
  for (const char* router :
       {"softmax", "sigmoid", "noisy_top_k", "top_p", "expert_choice", "sinkhorn", "hash", "bayesian", "dense"}) {
    LayerBenchOptions options = small();
    options.router = router;
    options.repeats = 1;
    if (options.router == "dense") options.experts_per_token = options.experts;
    EXPECT_GT(bench(options, 2).gflops, 0) << router;
  }
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

TEST(LayerBench, RefusesOnAllRanksWhatDoesNotGoTogether) {
  LayerBenchOptions too_many = small(), odd = small();
  too_many.experts_per_token = 9;
  odd.expert_tensor = 3;
  for (const LayerBenchOptions& options : {too_many, odd}) {
    run_ranks(2, [&](Communicator& world) {
      Recorder recorder;
      const absl::Status status = bench_layer(options, recorder, world).status();
      EXPECT_EQ(error_category(status), ErrorCategory::kBadConfig);
      EXPECT_TRUE(is_agreed(status));
    });
  }
}

}  // namespace
}  // namespace switchyard
