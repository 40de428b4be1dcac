#include "launch/bench/step_report.h"

#include <fstream>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "launch/bench/step_split.h"
#include "runtime/base/status.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::Not;

StepBenchOptions asked() {
  StepBenchOptions options{.vocabulary = 64};
  options.config.data.train = "random";
  return options;
}

StepBench found() {
  StepBench result{.ms = 500,
                   .forward_ms = 150,
                   .backward_ms = 300,
                   .floor_ms = 250,
                   .gflops = 50,
                   .peak_gflops = 200,
                   .tokens = 1000,
                   .bytes = {.own = 1 << 20, .node = 2 << 20, .remote = 0},
                   .memory_bytes = 1 << 30};
  for (const std::string& part : step_parts()) result.split_ms[part] = 0;
  result.split_ms["forward experts"] = 125;
  result.split_ms["rest"] = 375;
  return result;
}

BenchPlace place(int ranks, int threads = 1) {
  return {.threads = threads, .cpus = std::vector<std::string>(ranks, "0")};
}

TEST(StepReport, SaysHowFastAndWhereTheTimeGoes) {
  const std::string table = step_table(asked(), found(), place(2), std::nullopt);
  EXPECT_THAT(table, HasSubstr("2000 tokens/s, MFU 50.0 % of 200 GFLOP/s a rank, 50.0 % of the products' speed"));
  EXPECT_THAT(table, HasSubstr("of random tokens"));
  EXPECT_THAT(table, HasSubstr("\nforward                    150.000 ms\nbackward                   300.000 ms\n"));
  EXPECT_THAT(table, HasSubstr("  forward experts          125.000 ms  25.0 %\n"));
  EXPECT_THAT(table, Not(HasSubstr("forward head")));  // took no time
  EXPECT_THAT(table, HasSubstr("peak memory 1.00 GiB a rank"));
  const auto json = nlohmann::json::parse(step_json(asked(), found(), place(2)));
  EXPECT_EQ(json.at("tokens_per_second"), 2000);
  EXPECT_EQ(json.at("percent_of_peak"), 50);
  EXPECT_EQ(json.at("forward_ms"), 150);
  EXPECT_EQ(json.at("backward_ms"), 300);
  EXPECT_EQ(json.at("data"), "random tokens");
  EXPECT_EQ(json.at("layout").at("tensor"), 1);
  EXPECT_EQ(json.at("split_ms").at("forward experts"), 125);
}

TEST(StepReport, SaysWhyRowsGoByMessages) {
  EXPECT_THAT(step_table(asked(), found(), place(2), std::nullopt), Not(HasSubstr("rows go")));
  StepBench unshared = found();
  unshared.by_messages = "by messages: no room";
  EXPECT_THAT(step_table(asked(), unshared, place(2), std::nullopt), HasSubstr("\nrows go by messages: no room\n"));
  EXPECT_EQ(nlohmann::json::parse(step_json(asked(), unshared, place(2))).at("by_messages"), unshared.by_messages);
}

TEST(StepReport, ComparesLayoutsOfOneModel) {
  const TemporaryFolder folder;
  const std::string path = folder / "before.json";
  std::ofstream(path) << step_json(asked(), found(), place(2));
  StepBenchOptions other_layout = asked(), other_model = asked(), other_batch = asked();
  other_layout.config.parallel.expert = 2;
  other_layout.config.train.recompute = "layer";
  other_model.config.model.layers = 7;
  other_batch.config.train.global_batch = 7;
  const auto baseline = read_step_baseline(path, other_layout, place(2));
  ASSERT_TRUE(baseline.ok()) << baseline.status();
  StepBench faster = found();
  faster.ms = 250;
  EXPECT_THAT(step_table(other_layout, faster, place(2), *baseline), HasSubstr("  250.000 ms   2.00 x"));
  for (const StepBenchOptions& other : {other_model, other_batch}) {
    const absl::Status status = read_step_baseline(path, other, place(2)).status();
    EXPECT_EQ(error_category(status), ErrorCategory::kUsage);
    EXPECT_THAT(std::string(status.message()), HasSubstr("instead of \"7\""));
  }
  EXPECT_EQ(error_category(read_step_baseline(path, asked(), place(1)).status()), ErrorCategory::kUsage);
  EXPECT_EQ(error_category(read_step_baseline(path, asked(), place(2, 2)).status()), ErrorCategory::kUsage);
  std::ofstream(path) << "{\"layer\": {}}";
  EXPECT_EQ(error_category(read_step_baseline(path, asked(), place(2)).status()), ErrorCategory::kBadData);
}

}  // namespace
}  // namespace switchyard
