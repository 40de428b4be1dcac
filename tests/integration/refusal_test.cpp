// What a job refuses before it trains: the exit code, and one message that says what to do.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/device/cuda.h"
#include "tests/integration/launched_job.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Refusal : public testing::Test {
 protected:
  const TemporaryFolder folder_;
  const SmallRun run_{folder_.path()};
};

TEST_F(Refusal, RanksWithDifferentConfigs) {
  std::vector<std::string> words = run_.command();
  words.insert(words.end(), {":", "-n", "1"});
  const std::vector<std::string> other = run_.command({"optimizer.lr=0.002"});
  words.insert(words.end(), other.begin(), other.end());
  LaunchedJob job(1, words, folder_.path());
  EXPECT_EQ(job.wait(), 78);
  EXPECT_THAT(job.output(), AllOf(HasSubstr("rank 1"), HasSubstr("rank 0"), HasSubstr("lr")));
  EXPECT_FALSE(std::filesystem::exists(run_.checkpoints()));
}

TEST_F(Refusal, RanksThatEvaluateWithDifferentConfigs) {
  std::vector<std::string> words = run_.command();
  words[1] = "evaluate";
  std::vector<std::string> other = words;
  other.push_back("model.norm_epsilon=0.1");
  words.insert(words.end(), {":", "-n", "1"});
  words.insert(words.end(), other.begin(), other.end());
  LaunchedJob job(1, words, folder_.path());
  EXPECT_EQ(job.wait(), 78) << job.output();
  EXPECT_THAT(job.output(), AllOf(HasSubstr("different configs"), HasSubstr("norm_epsilon")));
}

TEST_F(Refusal, ADeviceThatIsNotThere) {
  const auto devices = cuda_devices();
  if (devices.ok() && !devices->empty()) GTEST_SKIP() << "this host has CUDA devices";
  const SmallRun::Outcome outcome = run_.finish({"run.device=cuda"});
  EXPECT_EQ(outcome.code, 69) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("switchyard: error: "), HasSubstr("run.device")));
}

TEST_F(Refusal, ALayoutThatDoesNotFit) {
  const SmallRun::Outcome outcome = run_.finish({"parallel.expert=3"});
  EXPECT_EQ(outcome.code, 78) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("parallel.expert"));
  EXPECT_THAT(outcome.output, HasSubstr("1, 2"));
}

}  // namespace
}  // namespace switchyard
