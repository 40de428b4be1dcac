// A scaling experiment by the shipped program, on 1 and 2 ranks.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

#include "tests/integration/launched_job.h"
#include "tests/support/browser.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string content(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class Scale : public testing::Test {
 protected:
  struct Outcome {
    int code;
    std::string output;
  };
  std::string command(const std::string& arguments) const {
    return SWITCHYARD_PROGRAM " scale " + (folder_ / "small.yaml").string() + " run.dir=" + (folder_ / "run").string() +
           " " + arguments;
  }
  Outcome run(const std::string& command) const {
    const std::filesystem::path output = folder_ / "output";
    const int state = std::system(("(" + command + ") >" + output.string() + " 2>&1").c_str());
    return {WIFEXITED(state) ? WEXITSTATUS(state) : -1, content(output)};
  }
  Outcome scale(const std::string& arguments) const { return run(command(arguments + " --steps 5")); }

  std::filesystem::path results(const std::string& kind) const { return folder_ / ("run-scale-" + kind); }
  nlohmann::json json(const std::string& kind) const {
    return nlohmann::json::parse(content(results(kind) / "scale.json"), nullptr, false);
  }

  const TemporaryFolder folder_;
  const SmallRun run_{folder_.path()};  // for its config
};

TEST_F(Scale, ThePageDrawsItsPlots) {
  if (!has_browser()) GTEST_SKIP() << "there is no chromium on this machine";
  const Outcome measured = scale("--ranks 1,2 --axis expert train.precision=fp64");
  ASSERT_EQ(measured.code, 0) << measured.output;
  const std::string dom = rendered(results("expert-strong") / "scale.html");
  const std::string drawn = dom.substr(0, dom.find("<script"));
  // A point for either number of ranks in the plots of lines, a bar in the stacked ones.
  for (const char* plot : {"<svg viewBox=", "<polyline class=\"ideal\"", "<title>1 ranks: ", "<title>2", " ranks, "}) {
    EXPECT_THAT(drawn, HasSubstr(plot));
  }
}

TEST_F(Scale, MeasuresAndComparesAndDoesNothingTwice) {
  const std::string arguments = "--ranks 1,2 --axis expert train.precision=fp64";
  const Outcome first = scale(arguments);
  ASSERT_EQ(first.code, 0) << first.output;
  EXPECT_THAT(first.output, HasSubstr("comparisons of losses hold"));
  EXPECT_THAT(content(results("expert-strong") / "scale.txt"), testing::StartsWith("strong scaling of "));
  EXPECT_TRUE(std::filesystem::exists(results("expert-strong") / "scale.html"));
  const nlohmann::json found = json("expert-strong");
  ASSERT_EQ(found["points"].size(), 2U) << found;
  EXPECT_EQ(found["agree"], true);
  EXPECT_EQ(found["points"][0]["sent"]["node_bytes"], 0.0);
  EXPECT_GT(double{found["points"][1]["sent"]["node_bytes"]}, 0);
  EXPECT_THAT(std::string(found["points"][1]["layout"]), HasSubstr("expert 2 x expert_tensor 1"));

  // A loss as another layout would have it that computes something else.
  const std::filesystem::path metrics = results("expert-strong") / "ranks-2" / "run-1" / "metrics.jsonl";
  std::ostringstream doctored;
  std::ifstream lines(metrics);
  for (std::string line; std::getline(lines, line);) {
    nlohmann::json record = nlohmann::json::parse(line);
    if (record["step"] == 4) record["loss"] = double{record["loss"]} * 1.01;
    doctored << record << "\n";
  }
  std::ofstream(metrics) << doctored.str();
  const Outcome again = scale(arguments);
  EXPECT_EQ(again.code, 70) << again.output;
  EXPECT_THAT(again.output, HasSubstr("2 of 2: 2 ranks, run 1: "));
  EXPECT_THAT(again.output, HasSubstr("(done before)"));
  EXPECT_THAT(again.output, Not(HasSubstr("begins")));
  EXPECT_THAT(again.output, HasSubstr("losses do not agree, first the loss of 2 ranks, run 1 with 1 rank, run 1"));
  EXPECT_THAT(again.output, HasSubstr("loss of 2 ranks, run 1, step 4: "));
  EXPECT_EQ(json("expert-strong")["agree"], false);
}

TEST_F(Scale, AWeakRunIsCheckedByAReference) {
  const Outcome outcome = scale("--ranks 1,2 --axis data --mode weak parallel.expert=1");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("1 rank, reference for 2"));
  const nlohmann::json found = json("data-weak");
  EXPECT_EQ(found["points"][1]["global_batch"], 8);
  EXPECT_EQ(found["checks"].back()["reference"], "1 rank, reference for 2");
  EXPECT_EQ(found["checks"].back()["holds"], true);
}

TEST_F(Scale, ARunThatFailsIsNamedAndTheOthersAreKept) {
  // No message arrives in time; one rank waits for none.
  const Outcome outcome = scale("--ranks 1,2 communication.timeout=1e-6");
  EXPECT_EQ(outcome.code, 76) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("2 ranks, run 1: ended with code 76: "));
  const std::filesystem::path log = results("expert-strong") / "ranks-2" / "run-1" / "output.log";
  EXPECT_THAT(outcome.output, HasSubstr("its log is " + log.string()));
  EXPECT_THAT(content(log), HasSubstr("timed out"));
  const nlohmann::json found = json("expert-strong");
  EXPECT_EQ(found["points"].size(), 1U) << found;
  EXPECT_EQ(found["failures"][0]["run"], "2 ranks, run 1");
}

TEST_F(Scale, ASignalEndsTheJobAndKeepsWhatIsDone) {
  const std::string log = (results("expert-strong") / "ranks-1" / "run-1" / "metrics.jsonl").string();
  const Outcome outcome = run(command("--ranks 1 --steps 1000000") + " & while [ ! -s " + log +
                              " ]; do sleep 0.1; done; kill -TERM $!; wait $!");
  EXPECT_EQ(outcome.code, 75) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("the same command goes on"));
  const std::string written = content(log);
  std::system("sleep 0.3");
  EXPECT_EQ(content(log), written);
}

TEST_F(Scale, RefusesBeforeAnythingRuns) {
  const Outcome layout = scale("--ranks 1,3 --axis tensor");
  EXPECT_EQ(layout.code, 78) << layout.output;
  EXPECT_THAT(layout.output, HasSubstr("--axis tensor on 3 ranks"));
  const Outcome nested = run(SWITCHYARD_SOURCE "/tests/support/mpirun.sh 1 " + command("--ranks 1"));
  EXPECT_EQ(nested.code, 64) << nested.output;
  EXPECT_THAT(nested.output, HasSubstr("run it without mpirun"));
  for (const char* kind : {"tensor-strong", "expert-strong"}) EXPECT_FALSE(std::filesystem::exists(results(kind)));
}

}  // namespace
}  // namespace switchyard
