#include "launch/trace/chrome_trace.h"

#include <map>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "launch/trace/listener.h"

namespace switchyard {
namespace {

TEST(ChromeTrace, SpansThatCrossGetRowsOfTheirOwn) {
  const std::string events = trace_events(3, "rank 3",
                                          {{"inner", "compute", 2000, 3000},
                                           {"outer", "compute", 1000, 3000},
                                           {"first", "wire", 1000, 4000, 64},
                                           {"crosses", "wire", 2500, 5000},
                                           {"after", "wire", 4000, 4500}},
                                          1000);
  const auto json = nlohmann::json::parse(chrome_trace(std::vector{events}));
  std::map<std::string, nlohmann::json> spans;
  std::map<int, std::string> threads;
  for (const auto& event : json.at("traceEvents")) {
    EXPECT_EQ(event.at("pid"), 3);
    if (event.at("ph") == "X") spans[event.at("name")] = event;
    if (event.at("name") == "thread_name") threads[event.at("tid")] = event.at("args").at("name");
  }
  const auto row = [&](const std::string& name) { return threads.at(spans.at(name).at("tid")); };
  EXPECT_EQ(row("outer"), "compute");
  EXPECT_EQ(row("inner"), "compute");
  EXPECT_EQ(row("first"), "wire");
  EXPECT_EQ(row("crosses"), "wire 2");
  EXPECT_EQ(row("after"), "wire");
  EXPECT_EQ(spans.at("inner").at("ts"), 1.0);  // µs after the zero
  EXPECT_EQ(spans.at("inner").at("dur"), 1.0);
  EXPECT_EQ(spans.at("first").at("args").at("bytes"), 64);
  EXPECT_FALSE(spans.at("crosses").contains("args"));
}

TEST(BackwardName, IsWhatPeopleCallIt) {
  EXPECT_EQ(backward_name("torch::autograd::CppNode<switchyard::(anonymous namespace)::Combine>"), "Combine backward");
  EXPECT_EQ(backward_name("torch::autograd::CppNode<switchyard::MoveRows<(switchyard::Move)0, (switchyard::Move)1>>"),
            "MoveRows backward");
  EXPECT_EQ(backward_name("MulBackward0"), "Mul backward");
  EXPECT_EQ(backward_name("torch::autograd::AccumulateGrad"), "AccumulateGrad");
}

}  // namespace
}  // namespace switchyard
