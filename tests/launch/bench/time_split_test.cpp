#include "launch/bench/time_split.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

constexpr int64_t kMs = 1000000;

TEST(TimeSplit, CountsNothingTwice) {
  const std::vector<Span> spans{{"route", "compute", 0, 2 * kMs},
                                {"ChooseFunction backward", "compute", 2 * kMs, 3 * kMs},
                                {"dispatch", "compute", 3 * kMs, 9 * kMs},
                                // Two operations that overlap, and one that goes on beyond what waits for it.
                                {"all_to_all", "wire", 4 * kMs, 6 * kMs},
                                {"all_to_all", "wire", 5 * kMs, 7 * kMs},
                                {"all_to_all", "wire", 8 * kMs, 20 * kMs},
                                {"ExpertsFunction backward", "compute", 30 * kMs, 35 * kMs},
                                {"AccumulateGrad", "compute", 35 * kMs, 36 * kMs}};
  const std::map<std::string, double> split = split_time(spans);
  EXPECT_DOUBLE_EQ(split.at("route"), 3);
  EXPECT_DOUBLE_EQ(split.at("wire"), 4);
  EXPECT_DOUBLE_EQ(split.at("permute"), 2);
  EXPECT_DOUBLE_EQ(split.at("experts"), 5);
  EXPECT_EQ(split.count("AccumulateGrad"), 0U);
}

}  // namespace
}  // namespace switchyard
