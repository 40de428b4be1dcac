#include "launch/bench/all_to_all_bench.h"

#include <gtest/gtest.h>

#include "launch/bench/all_to_all_sizes.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "tests/launch/bench/bench_ranks.h"

namespace switchyard {
namespace {

AllToAllBench bench(const AllToAllBenchOptions& options, int ranks, const std::vector<int>& nodes = {}) {
  return bench_on_ranks<AllToAllBench>(ranks, nodes, "/dispatch", [&](Recorder& recorder, Communicator& world) {
    return bench_all_to_all(options, recorder, world);
  });
}

TEST(AllToAllBench, SweepsEvenSizesByTier) {
  // Rows of 1 MiB; three ranks, two of them on one host, send at most 64 MiB: 1, 4 and 16 rows to each of two.
  const AllToAllBench result = bench({.width = 1 << 18, .precision = "fp32", .repeats = 1}, 3, {0, 0, 1});
  constexpr int64_t kMiB = 1 << 20;
  ASSERT_EQ(result.sizes.size(), 3U);
  int64_t rows = 1;
  for (const AllToAllSize& size : result.sizes) {
    EXPECT_EQ(size.rows, rows);
    EXPECT_EQ(size.bytes, 2 * rows * kMiB);
    EXPECT_EQ(size.tiers.own, rows * kMiB);
    // Of six pairs, two are within the host; the mean over three ranks.
    EXPECT_EQ(size.tiers.node, (2 * rows * kMiB + 1) / 3);
    EXPECT_EQ(size.tiers.remote, (4 * rows * kMiB + 1) / 3);
    EXPECT_GT(size.ms, 0);
    EXPECT_GT(size.floor_ms, 0);
    EXPECT_FALSE(size.percent_of_floor());  // a memcpy says nothing of what comes from the other host
    rows *= 4;
  }
  EXPECT_TRUE(result.model);
}

TEST(AllToAllBench, OnOneRankNothingTravels) {
  const AllToAllBench result = bench({.width = 1 << 20, .precision = "fp64", .repeats = 1}, 1);
  ASSERT_EQ(result.sizes.size(), 2U);  // one row of 8 MiB, and four
  EXPECT_EQ(result.sizes[1].bytes, 0);
  EXPECT_EQ(result.sizes[1].tiers.own, 4 * 8 << 20);
  EXPECT_EQ(result.sizes[1].tiers.node + result.sizes[1].tiers.remote, 0);
  EXPECT_FALSE(result.model);
}

// All experts of a token when it takes all: each rank holds as many, so the rows are known.
TEST(AllToAllBench, TakesTheRowsOfALayerInChunks) {
  const AllToAllBench result = bench({.width = 8,
                                      .precision = "bf16",
                                      .routed = RoutedRows{.tokens = 64, .experts = 4, .experts_per_token = 4},
                                      .repeats = 2},
                                     2);
  ASSERT_EQ(result.sizes.size(), 5U);  // 16, 8, 4, 2 chunks and the whole
  for (size_t i = 0; i < 5; ++i) {
    const int64_t tokens = 4 << i;
    EXPECT_EQ(result.sizes[i].rows, tokens);
    EXPECT_EQ(result.sizes[i].bytes, tokens * 2 * 8 * 2);  // two experts elsewhere, eight numbers of two bytes
    EXPECT_EQ(result.sizes[i].tiers.own, tokens * 2 * 8 * 2);
    EXPECT_EQ(result.sizes[i].tiers.node, tokens * 2 * 8 * 2);
    EXPECT_TRUE(result.sizes[i].percent_of_floor());
  }
}

TEST(AllToAllBench, SkewSendsMostRowsToTheFirstRank) {
  run_ranks(2, [](Communicator& world) {
    AllToAllBenchOptions options{.routed =
                                     RoutedRows{.tokens = 256, .experts = 8, .experts_per_token = 2, .skew = 1.2}};
    const auto sizes = exchange_sizes(options, 16, world);
    ASSERT_TRUE(sizes.ok()) << sizes.status();
    const RowCounts& whole = sizes->back();
    const int other = 1 - world.rank();
    EXPECT_EQ(whole.own + whole.sent[other], 256 * 2);
    EXPECT_EQ(whole.sent[world.rank()], 0);
    // Experts 1 to 4 of 8 have 77 % of the probability, and of two distinct ones the second still prefers them.
    const int64_t to_first = world.rank() == 0 ? whole.own : whole.sent[0];
    EXPECT_GT(to_first, 0.6 * 512);
    EXPECT_LT(to_first, 0.9 * 512);
    EXPECT_GT(world.rank() == 0 ? whole.received[1] : whole.sent[0],
              world.rank() == 0 ? whole.sent[1] : whole.received[0]);
  });
}

TEST(AllToAllBench, RefusesMoreExpertsATokenThanThereAre) {
  run_ranks(2, [](Communicator& world) {
    Recorder recorder;
    const AllToAllBenchOptions options{.routed = RoutedRows{.experts = 2, .experts_per_token = 3}};
    const absl::Status status = bench_all_to_all(options, recorder, world).status();
    EXPECT_EQ(error_category(status), ErrorCategory::kBadConfig);
    EXPECT_TRUE(is_agreed(status));
  });
}

}  // namespace
}  // namespace switchyard
