// How a job stops, by signals, by the death of a rank and by a full disk, and that the same command goes on.
#include <csignal>
#include <filesystem>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/integration/launched_job.h"
#include "tests/support/small_disk.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

constexpr int64_t kSteps = 400;

class Stopping : public testing::Test {
 protected:
  // The command of the run, once more, goes on after `step` and does every step once.
  void expect_goes_on_from(int64_t step) const {
    const SmallRun::Outcome outcome = run_.finish();
    EXPECT_EQ(outcome.code, 0) << outcome.output;
    char name[32];
    std::snprintf(name, sizeof name, "step-%08d", static_cast<int>(step));
    EXPECT_THAT(outcome.output, HasSubstr("resumed from " + (run_.checkpoints() / name).string() + "\n"));
    EXPECT_THAT(outcome.output, HasSubstr("done: 400 steps"));
    std::vector<int64_t> all(kSteps);
    std::iota(all.begin(), all.end(), 1);
    EXPECT_EQ(run_.steps(), all);
    EXPECT_EQ(run_.saved_steps(), (std::vector<int64_t>{kSteps - 20, kSteps}));
  }

  // After a signal that lets ranks finish their step.
  void expect_stopped_in_order(LaunchedJob& job) const {
    EXPECT_EQ(job.wait(), 75) << job.output();
    ASSERT_FALSE(run_.steps().empty());
    const int64_t last = run_.steps().back();
    ASSERT_LT(last, kSteps);
    EXPECT_THAT(job.output(), HasSubstr("stopped by a signal after step " + std::to_string(last) + " of 400"));
    EXPECT_THAT(job.output(), HasSubstr("go on with: switchyard train " + (folder_ / "small.yaml").string()));
    ASSERT_FALSE(run_.saved_steps().empty());
    EXPECT_EQ(run_.saved_steps().back(), last);
    expect_goes_on_from(last);
  }

  const TemporaryFolder folder_;
  const SmallRun run_{folder_.path()};
};

TEST_F(Stopping, AKilledRankEndsTheJobAndTheNextRunResumes) {
  LaunchedJob job(2, run_.command(), folder_.path());
  ASSERT_TRUE(run_.reaches(50, job)) << job.output();
  const std::vector<pid_t> ranks = job.ranks();
  ASSERT_EQ(ranks.size(), 2u);
  ASSERT_EQ(::kill(ranks[1], SIGKILL), 0);
  EXPECT_EQ(job.wait(), 128 + SIGKILL) << job.output();
  ASSERT_FALSE(run_.saved_steps().empty());
  const int64_t saved = run_.saved_steps().back();
  EXPECT_EQ(saved % 20, 0);
  EXPECT_GE(saved, 40);
  EXPECT_LT(saved, kSteps);
  expect_goes_on_from(saved);
}

// What launch/train.sh sends when it is interrupted.
TEST_F(Stopping, UserSignalToMpirun) {
  LaunchedJob job(2, run_.command(), folder_.path());
  ASSERT_TRUE(run_.reaches(5, job)) << job.output();
  ASSERT_EQ(::kill(job.mpirun(), SIGUSR1), 0);
  expect_stopped_in_order(job);
}

// What a scheduler sends to one task.
TEST_F(Stopping, TerminateToOneRank) {
  LaunchedJob job(2, run_.command(), folder_.path());
  ASSERT_TRUE(run_.reaches(5, job)) << job.output();
  const std::vector<pid_t> ranks = job.ranks();
  ASSERT_EQ(ranks.size(), 2u);
  ASSERT_EQ(::kill(ranks[1], SIGTERM), 0);
  expect_stopped_in_order(job);
}

TEST_F(Stopping, AFullDiskKeepsTheOlderCheckpoints) {
  std::filesystem::create_directories(run_.checkpoints());
  const SmallDisk disk(run_.checkpoints(), "1m");
  if (!disk.mounted()) GTEST_SKIP() << "this machine does not let a test mount a file system";
  const SmallRun::Outcome outcome = run_.finish({"checkpoint.keep=0"});
  EXPECT_EQ(outcome.code, 74) << outcome.output;
  const std::vector<int64_t> saved = run_.saved_steps();
  ASSERT_FALSE(saved.empty());
  ASSERT_LT(saved.back(), kSteps - 20);
  // Until the last, a checkpoint that fails is only told.
  const std::string next = std::to_string(saved.back() + 20);
  EXPECT_THAT(outcome.output, HasSubstr("warning: no checkpoint at step " + next + ", training goes on: "));
  EXPECT_THAT(outcome.output, HasSubstr("switchyard: error: "));
  EXPECT_THAT(outcome.output, HasSubstr("No space left on device"));
  EXPECT_EQ(run_.steps().back(), kSteps);

  // With room for one, the run goes on from the last that was written.
  for (int64_t step : saved) {
    char name[32];
    std::snprintf(name, sizeof name, "step-%08d", static_cast<int>(step));
    if (step != saved.back()) std::filesystem::remove_all(run_.checkpoints() / name);
  }
  expect_goes_on_from(saved.back());
}

}  // namespace
}  // namespace switchyard
