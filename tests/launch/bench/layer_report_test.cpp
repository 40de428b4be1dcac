#include "launch/bench/layer_report.h"

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
          .bytes = {.own = 1 << 20, .node = 2 << 20, .remote = 0},
          .load_imbalance = 1.5,
          .memory_bytes = 1 << 30};
}

BenchPlace two_ranks() {
  return {.threads = 1, .cpus = {"0", "1"}};
}

TEST(LayerReport, SaysHowFarFromPeakAndFloor) {
  const std::string table = layer_table({}, found(), two_ranks(), std::nullopt);
  EXPECT_THAT(table, HasSubstr("50.0 % of the peak (250 GFLOP/s), 50.0 % of the products' speed"));
  EXPECT_THAT(table, HasSubstr("50.0 %\n"));  // experts
  EXPECT_THAT(table, HasSubstr("1.0 that stay, 2.0 within its host, 0.0 to other hosts"));
  EXPECT_THAT(table, Not(HasSubstr("baseline")));
  const auto json = nlohmann::json::parse(layer_json({}, found(), two_ranks()));
  EXPECT_EQ(json.at("ms"), 8);
  EXPECT_EQ(json.at("percent_of_peak"), 50);
  EXPECT_EQ(json.at("percent_of_floor"), 50);
  EXPECT_EQ(json.at("bytes").at("same_node"), 2 << 20);
  EXPECT_EQ(json.at("cpus"), (std::vector<std::string>{"0", "1"}));
}

TEST(LayerReport, SaysWhyRowsGoByMessages) {
  EXPECT_THAT(layer_table({}, found(), two_ranks(), std::nullopt), Not(HasSubstr("rows go")));
  LayerBench unshared = found();
  unshared.by_messages = "by messages: no room";
  EXPECT_THAT(layer_table({}, unshared, two_ranks(), std::nullopt), HasSubstr("\nrows go by messages: no room\n"));
  EXPECT_EQ(nlohmann::json::parse(layer_json({}, unshared, two_ranks())).at("by_messages"), unshared.by_messages);
}

TEST(LayerReport, ComparesWithABaselineOfTheSameLayerOnly) {
  const TemporaryFolder folder;
  const std::string path = folder / "before.json";
  std::ofstream(path) << layer_json({}, found(), two_ranks());
  const auto baseline = read_layer_baseline(path, {}, two_ranks());
  ASSERT_TRUE(baseline.ok()) << baseline.status();
  LayerBench faster = found();
  faster.ms = 4;
  EXPECT_THAT(layer_table({}, faster, two_ranks(), *baseline),
              HasSubstr("both                         4.000 ms   2.00 x"));
  EXPECT_EQ(error_category(read_layer_baseline(path, {}, {.threads = 1, .cpus = {"0", "1", "2", "3"}}).status()),
            ErrorCategory::kUsage);
  EXPECT_EQ(error_category(read_layer_baseline(path, {.tokens = 1}, two_ranks()).status()), ErrorCategory::kUsage);
  EXPECT_EQ(error_category(read_layer_baseline(path + "x", {}, two_ranks()).status()), ErrorCategory::kMissingInput);
  EXPECT_EQ(error_category(read_layer_baseline(path, {}, {.threads = 4, .cpus = {"0", "1"}}).status()),
            ErrorCategory::kUsage);
  for (const char* text : {"{}", "[", "7"}) {
    std::ofstream(path) << text;
    EXPECT_EQ(error_category(read_layer_baseline(path, {}, two_ranks()).status()), ErrorCategory::kBadData) << text;
  }
  nlohmann::json broken = nlohmann::json::parse(layer_json({}, found(), two_ranks()));
  broken["split_ms"] = 3;
  std::ofstream(path) << broken;
  EXPECT_EQ(error_category(read_layer_baseline(path, {}, two_ranks()).status()), ErrorCategory::kBadData);
}

}  // namespace
}  // namespace switchyard
