#include "launch/bench/all_to_all_bench.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/bench/all_to_all_sizes.h"
#include "parallel/dispatch/expert_draw.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "tests/launch/bench/bench_ranks.h"
#include "tests/support/little_address_space.h"

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
  EXPECT_GT(result.memory_bytes, 0);
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

// A rank's two experts get all tokens, so the rows are known.
AllToAllBenchOptions to_all_experts(const std::string& dispatcher, int ranks) {
  return {.width = 512,
          .precision = "fp32",
          .routed =
              RoutedRows{.tokens = 32, .experts = 2 * ranks, .experts_per_token = 2 * ranks, .dispatcher = dispatcher},
          .repeats = 2};
}
constexpr int64_t kRow = 512 * 4;

TEST(AllToAllBench, ADispatchersRowsGoOutAndBackInChunks) {
  const AllToAllBench result = bench(to_all_experts("all_to_all", 2), 2);
  // Ranks also tell each other how many rows each of two experts gets, in 8 bytes, and where these rows begin on the
  // way out and on the way back.
  constexpr int64_t kTold = 3 * 2 * 8;
  ASSERT_EQ(result.sizes.size(), 5U);  // 16, 8, 4, 2 chunks and the whole
  for (size_t i = 0; i < 5; ++i) {
    const AllToAllSize& size = result.sizes[i];
    const int64_t tokens = 2 << i;
    EXPECT_EQ(size.rows, tokens);
    EXPECT_EQ(size.tiers.own, 2 * tokens * 2 * kRow);
    EXPECT_EQ(size.tiers.node, 2 * tokens * 2 * kRow + kTold);
    EXPECT_EQ(size.tiers.remote, 0);
    EXPECT_EQ(size.bytes, size.tiers.node);
    EXPECT_GT(size.ms, 0);
    EXPECT_GT(size.floor_ms, 0);
    EXPECT_TRUE(size.percent_of_floor());
  }
  EXPECT_TRUE(result.model);
  EXPECT_GT(result.memory_bytes, 0);
  EXPECT_EQ(result.by_messages, "");
}

TEST(AllToAllBench, ADispatcherOnOneRankLeavesAllRowsThere) {
  const AllToAllBench result = bench(to_all_experts("all_to_all", 1), 1);
  EXPECT_EQ(result.sizes.back().tiers.own, 2 * 32 * 2 * kRow);
  EXPECT_EQ(result.sizes.back().bytes, 0);
  EXPECT_GT(result.sizes.back().floor_ms, 0);
  EXPECT_FALSE(result.model);
}

// Counts, slots and weights travel beside the rows.
void expect_little_more(int64_t bytes, int64_t rows) {
  EXPECT_GE(bytes, rows * kRow);
  EXPECT_LE(static_cast<double>(bytes), 1.02 * static_cast<double>(rows * kRow));
}

// Four ranks on two hosts, each with two experts that all tokens choose.
TEST(AllToAllBench, DispatchersSendARowForAnExpertARankOrAHost) {
  struct Case {
    const char* dispatcher;
    int64_t node, remote;  // rows a token, out and back
  };
  // Handed on within the host are the tokens of two ranks, each for the two experts of the other one.
  for (const Case& c : {Case{"all_to_all", 4, 8}, Case{"deduplicated", 2, 4}, Case{"hierarchical", 8, 2}}) {
    SCOPED_TRACE(c.dispatcher);
    const AllToAllBench result = bench(to_all_experts(c.dispatcher, 4), 4, {0, 0, 1, 1});
    const AllToAllSize& whole = result.sizes.back();
    expect_little_more(whole.tiers.node, 32 * c.node);
    expect_little_more(whole.tiers.remote, 32 * c.remote);
    EXPECT_EQ(whole.tiers.own, 2 * 32 * 2 * kRow);  // whatever the dispatcher, a row a slot
    EXPECT_EQ(whole.bytes, whole.tiers.node + whole.tiers.remote);
    EXPECT_FALSE(whole.percent_of_floor());
  }
}

// Of two ranks, drawn unevenly: how many of this rank's slots are for the other, and how many of its tokens.
struct Leaving {
  int64_t slots, tokens;
};
Leaving leaving(const RoutedRows& rows, int64_t seed, int rank) {
  const at::Tensor experts_TK =
      draw_experts(rows.tokens, rows.experts, rows.experts_per_token, rows.skew, static_cast<uint64_t>(seed + rank));
  const at::Tensor there_TK = (experts_TK >= rows.experts / 2) == (rank == 0);
  return {there_TK.sum().item<int64_t>(), there_TK.any(1).sum().item<int64_t>()};
}

TEST(AllToAllBench, DeduplicatedSendsEachTokenOnce) {
  AllToAllBenchOptions options = to_all_experts("all_to_all", 2);
  options.routed = RoutedRows{.tokens = 256, .experts = 16, .experts_per_token = 4, .skew = 0.5};
  int64_t slots = 0, tokens = 0;  // of both ranks, which is what each of them sends out and back
  for (const int rank : {0, 1}) {
    const Leaving one = leaving(*options.routed, options.seed, rank);
    slots += one.slots;
    tokens += one.tokens;
  }
  ASSERT_LT(tokens, slots);
  options.routed->dispatcher = "all_to_all";
  expect_little_more(bench(options, 2).sizes.back().bytes, slots);
  options.routed->dispatcher = "deduplicated";
  expect_little_more(bench(options, 2).sizes.back().bytes, tokens);
}

TEST(AllToAllBench, SharedMemoryMovesTheSameRows) {
  AllToAllBenchOptions options = to_all_experts("all_to_all", 4);
  options.routed->experts_per_token = 2;
  options.routed->skew = 1.2;
  const AllToAllBench shared = bench(options, 4, {0, 0, 1, 1});
  options.routed->shared_memory = false;
  const AllToAllBench sent = bench(options, 4, {0, 0, 1, 1});
  EXPECT_EQ(sent.by_messages, "");        // as it was asked for
  constexpr int64_t kPlaces = 2 * 2 * 8;  // where the rows of two experts begin, out and back
  for (size_t i = 0; i < sent.sizes.size(); ++i) {
    EXPECT_EQ(shared.sizes[i].tiers.own, sent.sizes[i].tiers.own);
    EXPECT_EQ(shared.sizes[i].tiers.node, sent.sizes[i].tiers.node + kPlaces);
    EXPECT_EQ(shared.sizes[i].tiers.remote, sent.sizes[i].tiers.remote);
    EXPECT_EQ(shared.sizes[i].bytes, sent.sizes[i].bytes + kPlaces);
  }
}

TEST(AllToAllBench, SaysWhyRowsGoByMessages) {
  at::set_num_threads(1);  // threads need addresses too
  const LittleAddressSpace little;
  EXPECT_THAT(bench(to_all_experts("all_to_all", 2), 2).by_messages,
              testing::HasSubstr("no addresses for shared memory"));
  EXPECT_EQ(bench(to_all_experts("deduplicated", 2), 2).by_messages, "");
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
