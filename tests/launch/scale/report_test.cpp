#include "launch/scale/report.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "launch/scale/runner.h"
#include "runtime/base/status.h"
#include "tests/launch/scale/planned_runs.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::Not;

class Report : public PlannedRuns {
 protected:
  // 1, 2 and 4 ranks on 2 cores; 4 are no faster than 2.
  ScaleReport report() const {
    ScaleOptions options = this->options({1, 2, 4});
    options.repeat = 3;
    std::vector<MeasuredRun> runs = measured(plan(options));
    for (MeasuredRun& run : runs) {
      if (run.plan.ranks == 4) run.figures.tokens_per_second = 200;
      run.figures.tokens_per_second += run.plan.repeat - 2;
    }
    ScaleReport report{.config = "a </script> name",
                       .axis = "expert",
                       .mode = "strong",
                       .precision = "fp32",
                       .model = "2 layers",
                       .site = "this host, 2 cores",
                       .build = "abc",
                       .steps = 20,
                       .sequence = 16};
    report.points = points_of(runs, {.cores = 2});
    report.checks = check_losses(runs, "strong");
    return report;
  }
};

TEST_F(Report, EfficiencyIsOfTheFewestRanks) {
  const std::vector<ScalePoint> points = report().points;
  ASSERT_EQ(points.size(), 3U);
  EXPECT_EQ(points[1].figures.tokens_per_second, 200);
  EXPECT_EQ(points[1].slowest, 199);
  EXPECT_EQ(points[1].fastest, 201);
  EXPECT_EQ(points[1].runs, 3);
  EXPECT_DOUBLE_EQ(points[1].speed_up, 2);
  EXPECT_DOUBLE_EQ(points[1].efficiency, 1);
  EXPECT_DOUBLE_EQ(points[2].efficiency, 0.5);
  EXPECT_FALSE(points[1].crowded);
  EXPECT_TRUE(points[2].crowded);
}

TEST_F(Report, TheTableMarksRanksThatShareCores) {
  ScaleReport shown = report();
  std::string table = scale_table(shown);
  EXPECT_THAT(table, HasSubstr("\n    2         200      2.00     100.0 %"));
  EXPECT_THAT(table, HasSubstr("\n    4*        200      2.00      50.0 %"));
  EXPECT_THAT(table, HasSubstr("* more ranks than cores"));
  EXPECT_THAT(table, HasSubstr("comparisons of losses hold"));
  EXPECT_THAT(table, HasSubstr(" 16.7 "));  // a sixth of the time each
  shown.checks.push_back({.what = "loss",
                          .run = "2 ranks, run 1",
                          .reference = "1 rank, run 1",
                          .step = 3,
                          .deviation = 0.5,
                          .bound = 0.25});
  shown.failures.push_back({.name = "4 ranks, run 2", .log = "there/output.log", .message = "ended with code 71"});
  shown.points.pop_back();
  table = scale_table(shown);
  EXPECT_THAT(table, HasSubstr("do not:\n  loss of 2 ranks, run 1, step 3: 0.5 from 1 rank, run 1, where 0.25 may be"));
  EXPECT_THAT(table, HasSubstr("failed: 4 ranks, run 2: ended with code 71 (there/output.log)"));
  EXPECT_THAT(table, Not(HasSubstr("more ranks than cores")));
}

TEST_F(Report, TheJsonHoldsItAll) {
  ScaleReport shown = report();
  auto json = nlohmann::json::parse(scale_json(shown));
  EXPECT_EQ(json.at("agree"), true);
  EXPECT_EQ(json.at("warm_up_steps"), 3);
  const auto& point = json.at("points").at(2);
  EXPECT_EQ(point.at("ranks"), 4);
  EXPECT_EQ(point.at("crowded"), true);
  EXPECT_EQ(point.at("layout"), "data 4 x tensor 1; experts: expert_data 1 x expert 4 x expert_tensor 1; all_to_all");
  EXPECT_EQ(point.at("efficiency"), 0.5);
  EXPECT_EQ(point.at("seconds").at("wait"), 0.125);
  EXPECT_EQ(point.at("sent").at("remote_bytes"), 2 << 20);
  EXPECT_EQ(point.at("losses").size(), 20U);
  shown.checks.push_back({.what = "loss", .run = "2", .reference = "1", .deviation = 1});
  json = nlohmann::json::parse(scale_json(shown));
  EXPECT_EQ(json.at("agree"), false);
  EXPECT_EQ(json.at("checks").back().at("holds"), false);
}

TEST_F(Report, ThePageCarriesTheDataAndFetchesNothing) {
  const std::string json = scale_json(report()), page = scale_page(json);
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const size_t begin = page.find(open) + open.size();
  const size_t end = page.find("</script>", begin);
  EXPECT_EQ(nlohmann::json::parse(page.substr(begin, end - begin)), nlohmann::json::parse(json));
  for (const char* outside : {"src=", "http", "@import", "url(", "href="}) EXPECT_THAT(page, Not(HasSubstr(outside)));
}

TEST(JobFailure, HasTheJobsCategoryAndItsFirstError) {
  const absl::Status memory =
      job_failure(71, "rank table\nswitchyard: error: rank 1 of 2 on a: out of memory\nmpirun says\n");
  EXPECT_EQ(error_category(memory), ErrorCategory::kOutOfMemory);
  EXPECT_EQ(memory.message(), "ended with code 71: rank 1 of 2 on a: out of memory");
  const absl::Status killed = job_failure(137, "step=1/3\nmpirun noticed that process rank 0 exited on signal 9\n\n");
  EXPECT_EQ(error_category(killed), ErrorCategory::kInternal);
  EXPECT_EQ(killed.message(), "ended with code 137: mpirun noticed that process rank 0 exited on signal 9");
  EXPECT_EQ(job_failure(1, "").message(), "ended with code 1");
}

}  // namespace
}  // namespace switchyard
