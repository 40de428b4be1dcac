#include "launch/scale/process.h"

#include <csignal>
#include <fstream>
#include <sstream>

#include <absl/time/clock.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

class ProcessTest : public testing::Test {
 protected:
  absl::StatusOr<Process> start(std::vector<std::string> words) {
    return Process::start({.words = std::move(words), .environment = {{"GIVEN", "to it"}}, .output = output_});
  }
  static int code_of(Process& process) {
    while (true) {
      if (const auto code = process.poll()) return *code;
      absl::SleepFor(absl::Milliseconds(5));
    }
  }
  std::string output() const {
    std::ostringstream text;
    text << std::ifstream(output_).rdbuf();
    return text.str();
  }

  const TemporaryFolder folder_;
  const std::filesystem::path output_ = folder_ / "output";
};

TEST_F(ProcessTest, GivesTheExitCodeAndBothOutputs) {
  auto process = start({"sh", "-c", "echo $GIVEN; echo err >&2; exit 71"});
  ASSERT_TRUE(process.ok()) << process.status();
  EXPECT_EQ(code_of(*process), 71);
  EXPECT_EQ(output(), "to it\nerr\n");
  auto killed = start({"sh", "-c", "kill -9 $$"});
  ASSERT_TRUE(killed.ok());
  EXPECT_EQ(code_of(*killed), 128 + SIGKILL);
}

TEST_F(ProcessTest, WhatIsDroppedIsEnded) {
  {
    auto process = start({"sh", "-c", "trap 'echo ended; exit 1' TERM; echo there; while :; do sleep 0.02; done"});
    ASSERT_TRUE(process.ok());
    while (output().empty()) absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_EQ(output(), "there\nended\n");
}

TEST_F(ProcessTest, SaysWhatIsNotThere) {
  EXPECT_EQ(error_category(start({"no-such-launcher"}).status()), ErrorCategory::kUnavailable);
  const auto unwritable = Process::start({.words = {"true"}, .environment = {}, .output = "/nowhere/output"});
  EXPECT_FALSE(unwritable.ok());
}

}  // namespace
}  // namespace switchyard
