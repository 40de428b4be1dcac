#include "launch/scale/figures.h"

#include <cmath>
#include <fstream>

#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

class Figures : public testing::Test {
 protected:
  void record(int64_t step, double speed, const std::string& loss = "2.5") {
    std::ofstream(path_, std::ios::app) << absl::StrFormat(
        R"({"step":%d,"loss":%s,"grad_norm":0.5,"lr":0.001,"tokens_per_second":%g,"step_seconds":%g,)"
        R"("memory_bytes":%d,"seconds":{"experts":%g,"dispatch":1,"dense":2,"optimizer":3,"wait":4,"other":5},)"
        R"("sent":{"node_bytes":10,"remote_bytes":20},"moe":{"load_imbalance":1.5}})"
        "\n",
        step, loss, speed, 1 / speed, 1000 + step, speed);
  }

  const TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "metrics.jsonl";
};

TEST_F(Figures, AreMediansWithoutTheWarmUp) {
  for (const int64_t step : {1, 2, 3}) record(step, 1);
  record(4, 100);
  record(5, 500);
  record(6, 200);
  const auto figures = read_figures(path_, 6);
  ASSERT_TRUE(figures.ok()) << figures.status();
  EXPECT_EQ(figures->tokens_per_second, 200);
  EXPECT_DOUBLE_EQ(figures->step_seconds, 0.005);
  EXPECT_EQ(figures->seconds.at("experts"), 200);
  EXPECT_EQ(figures->seconds.at("wait"), 4);
  EXPECT_EQ(figures->node_bytes, 10);
  EXPECT_EQ(figures->remote_bytes, 20);
  EXPECT_EQ(figures->memory_bytes, 1006);  // the peak
  EXPECT_EQ(figures->load_imbalance, 1.5);
  EXPECT_EQ(figures->losses, std::vector<double>(6, 2.5));
}

TEST_F(Figures, OfOneStepAreThose) {
  record(1, 7, "null");
  const auto figures = read_figures(path_, 1);
  ASSERT_TRUE(figures.ok()) << figures.status();
  EXPECT_EQ(figures->tokens_per_second, 7);
  EXPECT_TRUE(std::isnan(figures->losses[0]));
}

TEST_F(Figures, AreNotOfARunThatDidNotEnd) {
  EXPECT_EQ(error_category(read_figures(path_, 2).status()), ErrorCategory::kMissingInput);
  record(1, 1);
  EXPECT_EQ(error_category(read_figures(path_, 2).status()), ErrorCategory::kBadData);
  record(3, 1);
  EXPECT_EQ(error_category(read_figures(path_, 2).status()), ErrorCategory::kBadData);
}

TEST_F(Figures, NeedAProfile) {
  std::ofstream(path_) << R"({"step":1,"loss":1,"grad_norm":1,"lr":1,"tokens_per_second":1,"step_seconds":1,)"
                       << R"("memory_bytes":1})"
                       << "\n";
  const auto figures = read_figures(path_, 1);
  EXPECT_EQ(error_category(figures.status()), ErrorCategory::kBadData);
  EXPECT_THAT(std::string(figures.status().message()), testing::HasSubstr("--profile"));
}

}  // namespace
}  // namespace switchyard
