#include "launch/scale/plan.h"

#include <algorithm>

#include <gmock/gmock.h>

#include "runtime/base/status.h"
#include "tests/launch/scale/planned_runs.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

class Plan : public PlannedRuns {
 protected:
  void expect_refused(const ScaleOptions& options, ErrorCategory category, const std::vector<std::string>& words) {
    const auto runs = plan_runs(options, 1);
    ASSERT_FALSE(runs.ok());
    EXPECT_EQ(error_category(runs.status()), category) << runs.status();
    for (const std::string& word : words) EXPECT_THAT(std::string(runs.status().message()), HasSubstr(word));
  }
};

TEST_F(Plan, RepeatsGoRoundTheRanksInFoldersOfTheirOwn) {
  ScaleOptions options = this->options({4, 1, 2});
  options.repeat = 2;
  std::vector<std::string> names, folders;
  for (const PlannedRun& run : plan(options)) {
    names.push_back(run.name());
    folders.push_back(run.folder.string());
    EXPECT_EQ(run.config.run.dir, folders.back());
    EXPECT_EQ(run.config.train.steps, 20);
    EXPECT_EQ(run.config.train.global_batch, 4);
    EXPECT_EQ(run.config.checkpoint.every, 0);
    EXPECT_EQ(run.config.checkpoint.resume, "never");
    EXPECT_EQ(run.config.train.validate_every, 0);
    EXPECT_EQ(run.config.run.threads, 1);
  }
  EXPECT_THAT(names, testing::ElementsAre("1 rank, run 1", "2 ranks, run 1", "4 ranks, run 1", "1 rank, run 2",
                                          "2 ranks, run 2", "4 ranks, run 2"));
  EXPECT_EQ(folders[4], "runs/small-scale-expert-strong/ranks-2/run-2");
}

TEST_F(Plan, EachAxisGrowsWithTheRanksAndDataTakesWhatIsLeft) {
  ScaleOptions options = this->options({4});
  MeshShape shape = plan(options).at(0).shape;
  EXPECT_EQ(std::tie(shape.data, shape.tensor, shape.expert, shape.expert_data), std::make_tuple(4, 1, 4, 1));
  options.overrides = {"parallel.tensor=2"};
  shape = plan(options).at(0).shape;
  EXPECT_EQ(std::tie(shape.data, shape.tensor, shape.expert, shape.expert_data), std::make_tuple(2, 2, 4, 1));

  options.axis = "data";
  options.overrides = {"parallel.expert=2"};
  shape = plan(options).at(0).shape;
  EXPECT_EQ(std::tie(shape.data, shape.tensor, shape.expert, shape.expert_data), std::make_tuple(4, 1, 2, 2));

  options.axis = "tensor";
  options.overrides = {};
  shape = plan(options).at(0).shape;
  EXPECT_EQ(std::tie(shape.data, shape.tensor, shape.expert, shape.expert_tensor), std::make_tuple(1, 4, 1, 4));
}

TEST_F(Plan, WeakScalingGrowsTheBatchAndChecksItOnTheFewestRanks) {
  ScaleOptions options = this->options({2, 4});
  options.mode = "weak";
  const std::vector<PlannedRun> runs = plan(options);
  ASSERT_EQ(runs.size(), 3U);
  EXPECT_EQ(runs[0].config.train.global_batch, 8);
  EXPECT_EQ(runs[1].config.train.global_batch, 16);
  const PlannedRun& reference = runs[2];
  EXPECT_EQ(reference.name(), "2 ranks, reference for 4");
  EXPECT_EQ(reference.shape.ranks(), 2);
  EXPECT_EQ(reference.config.train.global_batch, 16);
  EXPECT_EQ(reference.config.train.accumulation, 4);  // parts as large as those of 2 ranks
  EXPECT_EQ(reference.config.train.steps, 1);
}

TEST_F(Plan, AReferenceKeepsThePartsThatRoutersLookAt) {
  ScaleOptions options = this->options({1, 4});
  options.mode = "weak";
  options.overrides = {"model.moe.router.kind=expert_choice", "model.moe.router.aux_loss=0",
                       "model.moe.router.z_loss=0"};
  EXPECT_EQ(plan(options).back().config.train.accumulation, 2);
}

TEST_F(Plan, LayoutsThatCannotBeAreRefusedByTheMeshsRules) {
  ScaleOptions options = this->options({1, 3});
  options.axis = "tensor";
  expect_refused(options, ErrorCategory::kBadConfig,
                 {"--axis tensor on 3 ranks, run 1", "parallel.tensor=3", "heads=4"});
  options = this->options({1, 2});
  options.axis = "data";
  options.overrides = {"parallel.expert=2"};
  expect_refused(options, ErrorCategory::kBadConfig, {"1 rank, run 1", "parallel.expert=2 does not divide"});
}

TEST_F(Plan, KeysThatTheExperimentSetsAreNotTheUsers) {
  ScaleOptions options = this->options({1, 2});
  options.overrides = {"train.steps=5"};
  expect_refused(options, ErrorCategory::kUsage, {"train.steps", "--steps"});
  options.overrides = {"parallel.expert=2"};
  expect_refused(options, ErrorCategory::kUsage, {"parallel.expert"});
  expect_refused(this->options({2, 2}), ErrorCategory::kUsage, {"--ranks"});
}

TEST_F(Plan, AsksForTheConfigsOwnErrors) {
  ScaleOptions options = this->options({1});
  options.overrides = {"model.vocabulary=0"};
  expect_refused(options, ErrorCategory::kBadConfig, {"model.vocabulary"});
  options.config = folder_ / "none.yaml";
  expect_refused(options, ErrorCategory::kMissingInput, {"none.yaml"});
}

TEST_F(Plan, TheOutputIsBesideTheRunsDirectory) {
  RunConfig config;
  config.run.dir = "runs/x/";
  ScaleOptions options{.config = "", .overrides = {}, .ranks = {}, .axis = "data", .mode = "weak"};
  EXPECT_EQ(output_folder(options, config), "runs/x-scale-data-weak");
  options.output = "there";
  EXPECT_EQ(output_folder(options, config), "there");
}

}  // namespace
}  // namespace switchyard
