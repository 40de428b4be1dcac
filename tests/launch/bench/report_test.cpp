#include "launch/bench/report.h"

#include <fstream>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "runtime/base/status.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::Not;

LayerBench found() {
  return {.forward_ms = 2,
          .backward_ms = 6,
          .ms = 8,
          .floor_ms = 4,
          .gflops = 1,
          .peak_gflops = 250,
          .split_ms = {{"route", 1}, {"permute", 1}, {"wire", 1}, {"experts", 4}, {"combine", 0.5}, {"rest", 0.5}},
          .own_bytes = 1 << 20,
          .node_bytes = 2 << 20,
          .remote_bytes = 0,
          .load_imbalance = 1.5,
          .memory_bytes = 1 << 30,
          .threads = 1};
}

TEST(BenchReport, SaysHowFarFromPeakAndFloor) {
  const std::string table = bench_table({}, found(), 2, std::nullopt);
  EXPECT_THAT(table, HasSubstr("50.0 % of the peak (250 GFLOP/s), 50.0 % of the products' speed"));
  EXPECT_THAT(table, HasSubstr("50.0 %\n"));  // experts
  EXPECT_THAT(table, HasSubstr("1.0 that stay, 2.0 within its host, 0.0 to other hosts"));
  EXPECT_THAT(table, Not(HasSubstr("baseline")));
  const auto json = nlohmann::json::parse(bench_json({}, found(), 2));
  EXPECT_EQ(json.at("ms"), 8);
  EXPECT_EQ(json.at("percent_of_peak"), 50);
  EXPECT_EQ(json.at("percent_of_floor"), 50);
  EXPECT_EQ(json.at("bytes").at("same_node"), 2 << 20);
}

TEST(BenchReport, ComparesWithABaselineOfTheSameLayerOnly) {
  const TemporaryFolder folder;
  const std::string path = folder / "before.json";
  std::ofstream(path) << bench_json({}, found(), 2);
  const auto baseline = read_baseline(path, {}, 2, 1);
  ASSERT_TRUE(baseline.ok()) << baseline.status();
  LayerBench faster = found();
  faster.ms = 4;
  EXPECT_THAT(bench_table({}, faster, 2, *baseline), HasSubstr("both                       4.000 ms   2.00 x"));
  EXPECT_EQ(error_category(read_baseline(path, {}, 4, 1).status()), ErrorCategory::kUsage);
  EXPECT_EQ(error_category(read_baseline(path, {.tokens = 1}, 2, 1).status()), ErrorCategory::kUsage);
  EXPECT_EQ(error_category(read_baseline(path + "x", {}, 2, 1).status()), ErrorCategory::kMissingInput);
  EXPECT_EQ(error_category(read_baseline(path, {}, 2, 4).status()), ErrorCategory::kUsage);
  for (const char* text : {"{}", "[", "7"}) {
    std::ofstream(path) << text;
    EXPECT_EQ(error_category(read_baseline(path, {}, 2, 1).status()), ErrorCategory::kBadData) << text;
  }
  nlohmann::json broken = nlohmann::json::parse(bench_json({}, found(), 2));
  broken["split_ms"] = 3;
  std::ofstream(path) << broken;
  EXPECT_EQ(error_category(read_baseline(path, {}, 2, 1).status()), ErrorCategory::kBadData);
}

}  // namespace
}  // namespace switchyard
