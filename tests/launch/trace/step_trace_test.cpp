#include "launch/trace/step_trace.h"

#include <array>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "launch/trace/mixture_spans.h"
#include "runtime/base/status.h"
#include "runtime/comm/host_communicator.h"
#include "tests/launch/train/resume_testing.h"

namespace switchyard {
namespace {

struct Event {
  std::string name;
  double begin, end;  // µs
};
// By lane, without the number of the row.
using Lanes = std::map<std::string, std::vector<Event>>;

class StepTraceTest : public ResumeTest {
 protected:
  // Trains on two ranks; what rank 0's trace file says of each rank.
  std::array<Lanes, 2> traced_run(StepTraceOptions options) {
    options.path = path_;
    run_ranks(2, [&](Communicator& world) {
      StepTrace trace(options);
      auto& wires = dynamic_cast<HostCommunicator&>(world);
      wires.observe(record_wires(trace.recorder()));
      const absl::Status status = train({.config = config("run"), .command = "the command", .trace = &trace}, world);
      EXPECT_TRUE(status.ok()) << status;
      wires.observe(nullptr);
    });
    std::array<Lanes, 2> ranks;
    std::ifstream file(path_);
    if (!file) return ranks;
    std::map<std::pair<int, int>, std::string> lanes;
    const auto json = nlohmann::json::parse(file);
    for (const auto& event : json.at("traceEvents")) {
      const std::pair<int, int> row{event.at("pid"), event.value("tid", 0)};
      if (event.at("name") == "thread_name") {
        const std::string lane = event.at("args").at("name");
        lanes[row] = lane.substr(0, lane.find(' '));
      }
      if (event.at("ph") != "X") continue;
      const double begin = event.at("ts");
      ranks.at(row.first)[lanes.at(row)].push_back({event.at("name"), begin, begin + double{event.at("dur")}});
    }
    return ranks;
  }

  static std::vector<Event> named(const std::vector<Event>& events, const std::string& name) {
    std::vector<Event> found;
    for (const Event& event : events) {
      if (event.name == name) found.push_back(event);
    }
    return found;
  }

  const std::string path_ = folder_ / "trace.json";
};

TEST_F(StepTraceTest, ShowsWhatEveryRankDidInTheStepsAskedFor) {
  for (Lanes& lanes : traced_run({.first = 2, .last = 4})) {
    const std::vector<Event>& compute = lanes["compute"];
    EXPECT_EQ(named(compute, "optimizer").size(), 3U);
    const std::vector<Event> forwards = named(compute, "forward");  // of two parts a step
    ASSERT_EQ(forwards.size(), 6U);
    EXPECT_EQ(named(compute, "backward").size(), 6U);
    // One dense layer and one mixture, and validation after steps 2 and 4, which forward does not count.
    for (const char* name : {"route", "dispatch", "experts", "combine", "shared experts", "feed forward"}) {
      const std::vector<Event> spans = named(compute, name);
      ASSERT_GE(spans.size(), 6U) << name;
      EXPECT_GE(spans[0].begin, forwards[0].begin) << name;
      EXPECT_LE(spans[0].end, forwards[0].end) << name;
    }
    EXPECT_EQ(named(compute, "attention").size(), 2 * named(compute, "route").size());
    std::set<std::string> names;
    for (const Event& event : compute) names.insert(event.name);
    for (const char* name : {"BeginDispatch backward", "ExpertsFunction backward", "EndCombine backward", "load",
                             "cross-entropy", "wait for gradients", "step 2", "step 4"}) {
      EXPECT_TRUE(names.contains(name)) << name;
    }
    // What splits of time take for a mixture's is what it calls itself.
    for (const char* name :
         {"route", "ChooseFunction backward", "GateFunction backward", "dispatch", "BeginDispatch backward",
          "EndDispatch backward", "experts", "activation", "ExpertsFunction backward", "activation backward", "combine",
          "BeginCombine backward", "EndCombine backward"}) {
      EXPECT_TRUE(names.contains(name)) << name;
      EXPECT_FALSE(mixture_part(name).empty()) << name;
    }
    std::set<std::string> wire;
    for (const Event& event : lanes["wire"]) wire.insert(event.name.substr(0, event.name.find(' ')));
    EXPECT_TRUE(wire.contains("all_reduce") && wire.contains("reduce_scatter")) << testing::PrintToString(wire);
  }
}

TEST_F(StepTraceTest, IsOfTheSecondAndThirdStepWhereNobodySays) {
  for (Lanes& lanes : traced_run({})) EXPECT_EQ(named(lanes["compute"], "optimizer").size(), 2U);
}

TEST_F(StepTraceTest, StepsThatEndTheRunAreWrittenToo) {
  for (Lanes& lanes : traced_run({.first = 6, .last = 9})) EXPECT_EQ(named(lanes["compute"], "optimizer").size(), 1U);
}

TEST_F(StepTraceTest, StepsThatAreNotTrainedLeaveNoFile) {
  traced_run({.first = 7, .last = 9});
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST(StepTrace, SaysWhatIsWrong) {
  StepTraceOptions options;
  EXPECT_TRUE(parse_trace_steps("7", options).ok());
  EXPECT_EQ(options.first, 7);
  EXPECT_EQ(options.last, 7);
  EXPECT_TRUE(parse_trace_steps("7-9", options).ok());
  EXPECT_EQ(options.last, 9);
  for (const char* text : {"", "x", "0", "9-7", "1-2-3", "-1", "3-"}) {
    EXPECT_EQ(error_category(parse_trace_steps(text, options)), ErrorCategory::kUsage) << text;
  }
  EXPECT_FALSE(StepTrace({.path = "/nowhere/trace.json"}).check().ok());
}

}  // namespace
}  // namespace switchyard
