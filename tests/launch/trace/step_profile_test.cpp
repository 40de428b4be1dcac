#include "launch/trace/step_profile.h"

#include <numeric>

#include <gtest/gtest.h>

#include "runtime/comm/host_communicator.h"
#include "tests/launch/train/resume_testing.h"

namespace switchyard {
namespace {

constexpr int64_t kSecond = 1000000000;

TEST(SplitStep, GivesTimeToTheInnermostSpanOnce) {
  const std::vector<Span> spans{{"forward", "compute", 1 * kSecond, 11 * kSecond},
                                {"attention", "compute", 1 * kSecond, 3 * kSecond},
                                {"dispatch", "compute", 3 * kSecond, 6 * kSecond},
                                {"wait", "compute", 4 * kSecond, 5 * kSecond},
                                {"experts", "compute", 6 * kSecond, 10 * kSecond},
                                {"all_to_all", "wire", 0, 20 * kSecond},
                                {"backward", "compute", 11 * kSecond, 17 * kSecond},
                                {"ExpertsFunction backward", "compute", 12 * kSecond, 14 * kSecond},
                                {"Mul backward", "compute", 14 * kSecond, 15 * kSecond},
                                {"wait", "compute", 17 * kSecond, 18 * kSecond},
                                {"optimizer", "compute", 18 * kSecond, 19 * kSecond},
                                {"before", "compute", -5 * kSecond, -4 * kSecond}};
  const std::map<std::string, double> split = split_step(spans, 0, 20 * kSecond);
  const std::map<std::string, double> expected = {{"dense", 2 + 1 + 4}, {"dispatch", 2}, {"experts", 6},
                                                  {"optimizer", 1},     {"wait", 2},     {"other", 2}};
  EXPECT_EQ(split, expected);
}

TEST(SplitStep, DispatchIsForwardAndBackward) {
  const std::vector<Span> spans{{"dispatch", "compute", 0, 1 * kSecond},
                                {"combine", "compute", 1 * kSecond, 2 * kSecond},
                                {"backward", "compute", 2 * kSecond, 10 * kSecond},
                                {"EndCombine backward", "compute", 3 * kSecond, 4 * kSecond},
                                {"BeginCombine backward", "compute", 4 * kSecond, 5 * kSecond},
                                {"EndDispatch backward", "compute", 5 * kSecond, 6 * kSecond},
                                {"BeginDispatch backward", "compute", 6 * kSecond, 7 * kSecond}};
  const std::map<std::string, double> split = split_step(spans, 0, 10 * kSecond);
  EXPECT_EQ(split.at("dispatch"), 6);
  EXPECT_EQ(split.at("dense"), 4);
}

TEST(SplitStep, WithoutSpansIsOther) {
  const std::map<std::string, double> split = split_step({}, 0, kSecond);
  EXPECT_EQ(split.at("other"), 1);
  EXPECT_EQ(split.size(), kStepParts.size());
}

class StepProfileTest : public ResumeTest {
 protected:
  std::vector<nlohmann::json> profiled_run(int ranks, bool profile = true) {
    const std::string folder = "run" + std::to_string(ranks) + (profile ? "p" : "");
    const RunConfig config = this->config(folder, {"checkpoint.every=0"});
    run_ranks(ranks, [&](Communicator& world) {
      StepProfile step_profile;
      auto& wires = dynamic_cast<HostCommunicator&>(world);
      if (profile) wires.observe(step_profile.observer());
      TrainOptions options{.config = config, .command = "the command"};
      if (profile) options.profile = &step_profile;
      const absl::Status status = train(options, world);
      EXPECT_TRUE(status.ok()) << status;
      wires.observe(nullptr);
    });
    return records(config);
  }
};

TEST_F(StepProfileTest, EveryStepSaysWhereItsTimeIsAndWhatWasSent) {
  const std::vector<nlohmann::json> records = profiled_run(2);
  ASSERT_EQ(records.size(), 6U);
  for (const nlohmann::json& record : records) {
    for (const char* part : {"experts", "dispatch", "dense", "optimizer", "wait"}) {
      EXPECT_GT(double{record.at("seconds").at(part)}, 0) << part;
    }
    // Threads are one host.
    EXPECT_GT(int64_t{record.at("sent").at("node_bytes")}, 0);
    EXPECT_EQ(record.at("sent").at("remote_bytes"), 0);
  }
}

TEST_F(StepProfileTest, OneRankSendsAndWaitsForNothing) {
  for (const nlohmann::json& record : profiled_run(1)) {
    EXPECT_EQ(record.at("sent").at("node_bytes"), 0);
    EXPECT_EQ(record.at("seconds").at("wait"), 0.0);
    EXPECT_GT(double{record.at("seconds").at("experts")}, 0);
  }
}

TEST_F(StepProfileTest, ChangesNothingElse) {
  std::vector<nlohmann::json> with = profiled_run(2);
  for (nlohmann::json& record : with) {
    record.erase("seconds");
    record.erase("sent");
  }
  EXPECT_EQ(with, profiled_run(2, false));
}

}  // namespace
}  // namespace switchyard
