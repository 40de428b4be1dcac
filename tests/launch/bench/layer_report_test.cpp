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
          .split_ms = {{"route", 1},
                       {"permute", 0.5},
                       {"wire", 0.5},
                       {"products", 4},
                       {"activation", 1},
                       {"combine", 0.5},
                       {"rest", 0.5}},
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
  EXPECT_THAT(table, HasSubstr("  products                   4.000 ms  50.0 %\n"));
  EXPECT_THAT(table, HasSubstr("  activation                 1.000 ms  12.5 %\n"));
  EXPECT_THAT(table, HasSubstr("bf16, all_to_all in 1 chunk; 4096 tokens a rank"));
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

TEST(LayerReport, SaysWhatAutoSettledHereAndInTheBaseline) {
  const TemporaryFolder folder;
  const std::string path = folder / "before.json";
  const LayerBenchOptions automatic{.dispatcher = "auto", .chunks = 0};
  LayerBench before = found(), now = found();
  before.dispatcher = "hierarchical";
  now.dispatcher = "deduplicated";
  now.chunks = 2;
  EXPECT_THAT(layer_table(automatic, now, two_ranks(), std::nullopt),
              HasSubstr("bf16, deduplicated in 2 chunks, as auto settled it; 4096 tokens"));
  const std::string text = layer_json(automatic, before, two_ranks());
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json.at("layer").at("dispatcher"), "auto");
  EXPECT_EQ(json.at("layer").at("chunks"), "auto");
  EXPECT_EQ(json.at("dispatcher"), "hierarchical");
  EXPECT_EQ(json.at("chunks"), 1);

  std::ofstream(path) << text;
  const auto baseline = read_layer_baseline(path, automatic, two_ranks());
  ASSERT_TRUE(baseline.ok()) << baseline.status();
  EXPECT_THAT(layer_table(automatic, now, two_ranks(), *baseline),
              HasSubstr("\nauto settled the baseline's on hierarchical in 1 chunk\n"));
  EXPECT_THAT(layer_table(automatic, before, two_ranks(), *baseline), Not(HasSubstr("the baseline's on")));
  const LayerBenchOptions named{.dispatcher = "hierarchical"};  // not what was asked for then
  EXPECT_EQ(error_category(read_layer_baseline(path, named, two_ranks()).status()), ErrorCategory::kUsage);
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
