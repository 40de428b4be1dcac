#include "launch/train/run_directory.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/config/binder.h"
#include "parallel/checkpoint/write_checkpoint.h"
#include "runtime/comm/loopback.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

class RunDirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(root_);
    config_.run.dir = root_ + "/runs/a";
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void expect_failure(ErrorCategory category, const std::string& text) const {
    const auto directory = RunDirectory::open(config_);
    ASSERT_FALSE(directory.ok());
    EXPECT_EQ(error_category(directory.status()), category);
    EXPECT_THAT(std::string(directory.status().message()), HasSubstr(text));
  }
  void begin_a_run_with_a_checkpoint() const {
    const auto directory = RunDirectory::open(config_);
    ASSERT_TRUE(directory.ok()) << directory.status();
    std::filesystem::create_directories(directory->checkpoints_path() + "/step-00000010");
  }

  const std::string root_ = testing::TempDir() + "run_directory_test";
  RunConfig config_ = [] {
    RunConfig config;
    config.data.train = "random";
    return config;
  }();
};

TEST_F(RunDirectoryTest, IsCreatedWithTheResolvedConfig) {
  config_.train.steps = 77;
  const auto directory = RunDirectory::open(config_);
  ASSERT_TRUE(directory.ok()) << directory.status();
  EXPECT_TRUE(std::filesystem::is_directory(directory->checkpoints_path()));
  const auto saved = read_config<RunConfig>(directory->config_path());
  ASSERT_TRUE(saved.ok()) << saved.status();
  EXPECT_EQ(saved->train.steps, 77);
}

TEST_F(RunDirectoryTest, TwoRunsDoNotShareIt) {
  {
    const auto directory = RunDirectory::open(config_);
    ASSERT_TRUE(directory.ok()) << directory.status();
    expect_failure(ErrorCategory::kUnavailable, "in use by a run that has not ended");
  }
  EXPECT_TRUE(RunDirectory::open(config_).ok());
}

TEST_F(RunDirectoryTest, APathThatCannotBeWritten) {
  std::filesystem::create_directories(root_);
  std::ofstream(root_ + "/file") << "x";
  config_.run.dir = root_ + "/file/run";
  expect_failure(ErrorCategory::kIo, "choose another with run.dir=PATH");
}

TEST_F(RunDirectoryTest, ResumingMayChangeTheLengthButNotTheRun) {
  begin_a_run_with_a_checkpoint();
  config_.train.steps *= 2;
  config_.parallel.data = 2;
  EXPECT_TRUE(RunDirectory::open(config_).ok());

  config_.train.precision = "fp32";
  config_.run.seed = 99;
  expect_failure(ErrorCategory::kBadConfig,
                 "holds checkpoints of another run: choose another with run.dir=PATH, or give these keys their old "
                 "values\nrun.seed was 1234 and is now 99\ntrain.precision was bf16 and is now fp32");
  // The refused config has not replaced the saved one.
  const auto saved = read_config<RunConfig>(config_.run.dir + "/config.yaml");
  ASSERT_TRUE(saved.ok());
  EXPECT_EQ(saved->train.precision, "bf16");
}

TEST_F(RunDirectoryTest, CheckpointsAreNotOverwrittenByAFreshStart) {
  begin_a_run_with_a_checkpoint();
  config_.checkpoint.resume = "never";
  expect_failure(ErrorCategory::kBadConfig, "already holds checkpoints");
}

TEST_F(RunDirectoryTest, WithoutACheckpointThereIsNothingToKeep) {
  ASSERT_TRUE(RunDirectory::open(config_).ok());
  config_.run.seed = 99;
  EXPECT_TRUE(RunDirectory::open(config_).ok());
}

TEST_F(RunDirectoryTest, NewerCheckpointsAreNotLeftBehind) {
  begin_a_run_with_a_checkpoint();  // of step 10
  Loopback ranks(1);
  for (const int64_t step : {5, 10}) {
    ASSERT_TRUE(write_checkpoint(root_ + "/other", step, std::vector<TensorPart>(), "{}", ranks.rank(0)).ok());
  }
  config_.train.steps = 77;
  config_.checkpoint.resume = root_ + "/other/step-00000005";
  expect_failure(ErrorCategory::kBadConfig, "is of step 5, but run directory " + config_.run.dir +
                                                " holds newer checkpoints, up to step 10: choose another");
  config_.checkpoint.resume = root_ + "/none";
  expect_failure(ErrorCategory::kMissingInput, "/none is not a checkpoint");
  // Refused configs have not replaced the saved one.
  const auto saved = read_config<RunConfig>(config_.run.dir + "/config.yaml");
  ASSERT_TRUE(saved.ok());
  EXPECT_NE(saved->train.steps, 77);

  config_.checkpoint.resume = root_ + "/other/step-00000010";
  EXPECT_TRUE(RunDirectory::open(config_).ok());
}

}  // namespace
}  // namespace switchyard
