// What runs leave in their checkpoints, and which of them they go on from.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/train/run_state.h"
#include "parallel/checkpoint/checkpoint.h"
#include "runtime/base/status.h"
#include "tests/launch/train/resume_testing.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

TEST_F(ResumeTest, CheckpointsSayWhatSavedThem) {
  expect_stopped(config("run", {"parallel.expert=2"}), 2, 1);
  const auto checkpoint = Checkpoint::open(checkpoint_path(config("run"), 1));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto state = parse_run_state((*checkpoint)->run_state());
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->layout,
            (RunLayout{.ranks = 2, .threads = 1, .data = 2, .tensor = 1, .expert = 2, .expert_tensor = 1}));
  EXPECT_TRUE((*checkpoint)->manifest().aliases.empty());
  expect_stopped(config("tied", {"model.tie_embeddings=true"}), 1, 1);
  const auto tied = Checkpoint::open(checkpoint_path(config("tied"), 1));
  ASSERT_TRUE(tied.ok()) << tied.status();
  EXPECT_EQ((*tied)->find("head"), (*tied)->find("embedding"));

  testing::internal::CaptureStdout();
  expect_done(config("run", {"train.steps=2"}), 1);
  EXPECT_THAT(
      testing::internal::GetCapturedStdout(),
      HasSubstr("saved by 2 ranks of 1 thread (data 2, tensor 1, expert 2, expert_tensor 1, all_to_all), goes on with "
                "1 rank of 1 thread"));
}

// Flips a bit in the middle of a file of the checkpoint.
void damage(const std::filesystem::path& checkpoint, const std::string& name) {
  std::fstream stream(checkpoint / name, std::ios::in | std::ios::out | std::ios::binary);
  const auto middle = static_cast<std::streamoff>(std::filesystem::file_size(checkpoint / name) / 2);
  stream.seekg(middle);
  const int byte = stream.get();
  stream.seekp(middle);
  stream.put(static_cast<char>(byte ^ 4));
  ASSERT_TRUE(stream.good());
}

TEST_F(ResumeTest, DamageInTheNewestIsNamedAndTheOneBeforeIsUsed) {
  const RunConfig run_of_two = config("run", {"checkpoint.every=2"});
  expect_done(run_of_two, 2);
  const auto expected = tensors(run_of_two, 6);
  damage(checkpoint_path(run_of_two, 6), "boxes-00001-of-00002.safetensors");
  testing::internal::CaptureStdout();
  expect_done(run_of_two, 2);
  const std::string output = testing::internal::GetCapturedStdout();
  EXPECT_THAT(output, HasSubstr("warning: skipped "));
  EXPECT_THAT(output, HasSubstr("step-00000006/boxes-00001-of-00002.safetensors: tensor \""));
  EXPECT_THAT(output, HasSubstr("resumed from " + checkpoint_path(run_of_two, 4).string()));
  EXPECT_EQ(names_that_differ(expected, tensors(run_of_two, 6)), "");

  for (const int step : {2, 4, 6}) damage(checkpoint_path(run_of_two, step), "boxes-00000-of-00002.safetensors");
  const absl::Status status = run(run_of_two, 2);
  EXPECT_EQ(error_category(status), ErrorCategory::kBadData) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("step-00000002"));
}

TEST_F(ResumeTest, AStopWhileStepsAreSkippedPushesOutNothing) {
  std::vector<std::string> keys = {"train.precision=fp32", "checkpoint.keep=1", "train.steps=20"};
  expect_stopped(config("run", keys), 2, 2);
  const auto good = tensors(config("run"), 2);
  keys.insert(keys.end(), {"optimizer.lr=1e30", "optimizer.schedule.kind=constant", "optimizer.schedule.warmup=0"});
  expect_stopped(config("run", keys), 2, 3);
  EXPECT_EQ(records(config("run")).back()["skipped"], true);
  EXPECT_TRUE(Checkpoint::open(checkpoint_path(config("run"), 5)).ok());
  EXPECT_EQ(names_that_differ(good, tensors(config("run"), 2)), "");
}

}  // namespace
}  // namespace switchyard
