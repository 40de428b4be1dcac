#include "launch/bench/all_to_all_report.h"

#include <fstream>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "runtime/base/status.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::Not;

AllToAllBench found() {
  return {.sizes =
              {{.rows = 1, .bytes = 1 << 10, .ms = 0.01, .floor_ms = 0.001, .tiers = {.own = 1 << 10, .node = 1 << 10}},
               {.rows = 4, .bytes = 4 << 20, .ms = 2, .floor_ms = 1, .tiers = {.own = 4 << 20, .node = 4 << 20}}},
          .model = AlphaBeta{.alpha = 0.012, .beta = 5e-7, .residual = 0.05},
          .memory_bytes = 1 << 30};
}

BenchPlace place(int ranks, int threads = 1) {
  return {.threads = threads, .cpus = std::vector<std::string>(ranks, "0")};
}

TEST(AllToAllReport, ShowsSizesModelAndTiers) {
  const std::string table = all_to_all_table({}, found(), place(2), std::nullopt);
  EXPECT_THAT(table, HasSubstr("as many to each other rank"));
  EXPECT_THAT(table, HasSubstr("          4     4.0 MiB      2.0000      2.10      1.0000     50.0 %\n"));
  EXPECT_THAT(table, HasSubstr("v bytes take 12.0 us + v x 0.5000 ns (2.00 GB/s), by least squares"));
  EXPECT_THAT(table, HasSubstr("mean square is 5.0 %"));
  EXPECT_THAT(table, HasSubstr("4.0 that stay, 4.0 within its host, 0.0 to other hosts"));
  EXPECT_THAT(table, HasSubstr("rows that stay on their rank take no part"));
  EXPECT_THAT(table, HasSubstr("\npeak memory 1.00 GiB a rank\n"));
  EXPECT_THAT(table, Not(HasSubstr("baseline")));
  AllToAllBench alone = found();
  alone.model.reset();
  EXPECT_THAT(all_to_all_table({}, alone, place(1), std::nullopt), HasSubstr("nothing travels on one rank"));
  const auto json = nlohmann::json::parse(all_to_all_json({}, found(), place(2)));
  EXPECT_EQ(json.at("sizes").at(1).at("rows"), 4);
  EXPECT_EQ(json.at("sizes").at(1).at("bytes").at("same_node"), 4 << 20);
  EXPECT_EQ(json.at("model").at("alpha_ms"), 0.012);
  EXPECT_EQ(json.at("threads"), 1);
  EXPECT_EQ(json.at("memory_bytes"), 1 << 30);
  EXPECT_FALSE(json.at("all-to-all").contains("dispatcher"));
}

TEST(AllToAllReport, SaysWhichDispatcherAndWhatItsFiguresMean) {
  const AllToAllBenchOptions options{.routed = RoutedRows{.dispatcher = "hierarchical"}};
  AllToAllBench result = found();
  const std::string table = all_to_all_table(options, result, place(2), std::nullopt);
  EXPECT_THAT(table, HasSubstr("hierarchical plans, dispatches and combines rows as they came\n"));
  EXPECT_THAT(table, HasSubstr("a rank: what the one with most sends, out and back; memcpy: a row for every expert"));
  EXPECT_THAT(table, Not(HasSubstr("take no part")));
  EXPECT_THAT(table, HasSubstr("v bytes, out and back, take 12.0 us"));
  EXPECT_THAT(table, Not(HasSubstr("rows go")));
  result.by_messages = "by messages: no room";
  EXPECT_THAT(all_to_all_table(options, result, place(2), std::nullopt), HasSubstr("\nrows go by messages: no room\n"));
  const auto json = nlohmann::json::parse(all_to_all_json(options, result, place(2)));
  EXPECT_EQ(json.at("all-to-all").at("dispatcher"), "hierarchical");
  EXPECT_EQ(json.at("all-to-all").at("shared_memory"), true);
  EXPECT_EQ(json.at("by_messages"), result.by_messages);
}

TEST(AllToAllReport, ComparesADispatcherWithItselfOnly) {
  const TemporaryFolder folder;
  const std::string path = folder / "before.json";
  const AllToAllBenchOptions alone{.routed = RoutedRows()};
  AllToAllBenchOptions dispatched = alone, other = alone, sending = alone;
  dispatched.routed->dispatcher = sending.routed->dispatcher = "all_to_all";
  other.routed->dispatcher = "deduplicated";
  sending.routed->shared_memory = false;
  std::ofstream(path) << all_to_all_json(dispatched, found(), place(2));
  const auto baseline = read_all_to_all_baseline(path, dispatched, place(2));
  EXPECT_TRUE(baseline.ok()) << baseline.status();
  for (const AllToAllBenchOptions& options : {alone, other, sending}) {
    EXPECT_EQ(error_category(read_all_to_all_baseline(path, options, place(2)).status()), ErrorCategory::kUsage);
  }
}

TEST(AllToAllReport, ComparesWithABaselineOfTheSameRowsOnly) {
  const TemporaryFolder folder;
  const std::string path = folder / "before.json";
  const AllToAllBenchOptions routed{.routed = RoutedRows()};
  std::ofstream(path) << all_to_all_json({}, found(), place(2));
  const auto baseline = read_all_to_all_baseline(path, {}, place(2));
  ASSERT_TRUE(baseline.ok()) << baseline.status();
  AllToAllBench faster = found();
  faster.sizes[1].ms = 0.5;
  EXPECT_THAT(all_to_all_table({}, faster, place(2), *baseline), HasSubstr("    200.0 %      4.00\n"));
  EXPECT_EQ(error_category(read_all_to_all_baseline(path, {}, place(4)).status()), ErrorCategory::kUsage);
  EXPECT_EQ(error_category(read_all_to_all_baseline(path, {}, place(2, 2)).status()), ErrorCategory::kUsage);
  EXPECT_EQ(error_category(read_all_to_all_baseline(path, {.width = 8}, place(2)).status()), ErrorCategory::kUsage);
  EXPECT_EQ(error_category(read_all_to_all_baseline(path, routed, place(2)).status()), ErrorCategory::kUsage);
  EXPECT_EQ(error_category(read_all_to_all_baseline(path + "x", {}, place(2)).status()), ErrorCategory::kMissingInput);
  std::ofstream(path) << "{}";
  EXPECT_EQ(error_category(read_all_to_all_baseline(path, {}, place(2)).status()), ErrorCategory::kBadData);
}

}  // namespace
}  // namespace switchyard
