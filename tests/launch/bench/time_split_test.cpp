#include "launch/bench/time_split.h"

#include <gtest/gtest.h>

#include "tests/support/ranks.h"

namespace switchyard {
namespace {

constexpr int64_t kMs = 1000000;

std::string by_path(std::span<const std::string_view> names) {
  std::string path;
  for (const std::string_view name : names) path.append(path.empty() ? "" : "/").append(name);
  return names.back() == "nothing" ? "" : path;
}

TEST(TimeSplit, CountsNothingTwice) {
  const std::vector<Span> spans{{"route", "compute", 0, 2 * kMs},           {"dispatch", "compute", 3 * kMs, 9 * kMs},
                                {"wait", "compute", 4 * kMs, 6 * kMs},      {"wait", "compute", 6 * kMs, 8 * kMs},
                                {"all_to_all", "wire", 4 * kMs, 32 * kMs},  // beside computing
                                {"experts", "compute", 30 * kMs, 35 * kMs}, {"nothing", "compute", 35 * kMs, 37 * kMs},
                                {"wait", "compute", 36 * kMs, 37 * kMs},   // within nothing
                                {"wait", "compute", 38 * kMs, 39 * kMs}};  // and by itself
  const std::map<std::string, double> split = split_time(spans, by_path);
  EXPECT_DOUBLE_EQ(split.at("route"), 2);
  EXPECT_DOUBLE_EQ(split.at("wire"), 4);
  EXPECT_DOUBLE_EQ(split.at("dispatch"), 2);
  EXPECT_DOUBLE_EQ(split.at("experts"), 5);
  EXPECT_EQ(split.count("nothing"), 0U);
}

// Spans end in the order in which recorders list them: those within others first.
TEST(TimeSplit, GivesInnerSpansTheirTimeAndTheirNames) {
  const std::vector<Span> spans{
      {"attention", "compute", 1 * kMs, 4 * kMs},   {"wait", "compute", 5 * kMs, 6 * kMs},
      {"nothing", "compute", 6 * kMs, 8 * kMs},     {"forward", "compute", 0, 10 * kMs},
      {"attention", "compute", 10 * kMs, 15 * kMs}, {"recomputed", "compute", 10 * kMs, 20 * kMs},
      {"backward", "compute", 10 * kMs, 30 * kMs}};
  const std::map<std::string, double> split = split_time(spans, by_path);
  EXPECT_DOUBLE_EQ(split.at("forward"), 10 - 3 - 2 - 1);  // without attention, nothing, and a wait
  EXPECT_DOUBLE_EQ(split.at("forward/attention"), 3);
  EXPECT_DOUBLE_EQ(split.at("wire"), 1);
  EXPECT_DOUBLE_EQ(split.at("backward"), 10);
  EXPECT_DOUBLE_EQ(split.at("backward/recomputed"), 5);
  EXPECT_DOUBLE_EQ(split.at("backward/recomputed/attention"), 5);
  EXPECT_EQ(split.size(), 6U);
}

TEST(TimeSplit, PartsAddUpToTheMeanOfTheRanks) {
  run_ranks(2, [](Communicator& world) {
    const double own_ms = world.rank() == 0 ? 20 : 40;
    const auto mean = mean_split({{"a", 4.0 + world.rank()}, {"unnamed", 1}}, {"a", "b", "rest"}, own_ms, 2, world);
    ASSERT_TRUE(mean.ok()) << mean.status();
    EXPECT_DOUBLE_EQ(mean->at("a"), 4.5 / 2);
    EXPECT_DOUBLE_EQ(mean->at("b"), 0);
    EXPECT_DOUBLE_EQ(mean->at("rest"), 15 - 4.5 / 2);
    EXPECT_EQ(mean->size(), 3U);
  });
}

}  // namespace
}  // namespace switchyard
