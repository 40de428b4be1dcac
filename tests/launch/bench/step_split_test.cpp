#include "launch/bench/step_split.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace switchyard {
namespace {

constexpr int64_t kMs = 1000000;

TEST(StepSplit, NamesPartsAndCountsWhatIsWaitedFor) {
  const std::vector<Span> spans{{"load", "compute", 0, 1 * kMs},
                                {"attention", "compute", 1 * kMs, 3 * kMs},
                                {"dispatch", "compute", 3 * kMs, 6 * kMs},
                                {"wait", "compute", 4 * kMs, 6 * kMs},
                                {"forward", "compute", 1 * kMs, 8 * kMs},
                                {"LinearFunction backward", "compute", 8 * kMs, 10 * kMs},
                                // A gradient's reduction runs beside backward; only its end is waited for.
                                {"reduce_scatter data/gradient", "wire", 9 * kMs, 21 * kMs},
                                // A layer that is computed again, within a function of autograd.
                                {"attention", "compute", 11 * kMs, 13 * kMs},
                                {"CausalAttention backward", "compute", 14 * kMs, 17 * kMs},
                                {"Recompute backward", "compute", 10 * kMs, 18 * kMs},
                                {"AccumulateGrad", "compute", 18 * kMs, 19 * kMs},
                                {"backward", "compute", 8 * kMs, 20 * kMs},
                                {"wait", "compute", 20 * kMs, 21 * kMs},
                                {"wait for gradients", "compute", 20 * kMs, 22 * kMs},
                                {"wait", "compute", 24 * kMs, 25 * kMs},
                                {"optimizer", "compute", 23 * kMs, 26 * kMs}};
  const std::map<std::string, double> expected{{"load", 1},
                                               {"forward attention", 2},
                                               {"forward permute", 1},
                                               {"forward rest", 2},
                                               {"backward linear", 2},
                                               {"backward recompute", 5},
                                               {"backward attention", 3},
                                               {"backward rest", 2},
                                               {"gradients", 1},
                                               {"wire", 2 + 1 + 1},
                                               {"optimizer", 2}};
  const std::map<std::string, double> split = split_steps(spans);
  EXPECT_EQ(split.size(), expected.size());
  for (const auto& [part, ms] : expected) {
    EXPECT_DOUBLE_EQ(split.at(part), ms) << part;
    EXPECT_EQ(std::count(step_parts().begin(), step_parts().end(), part), 1) << part;
  }
}

TEST(StepSplit, ActivationsAreOfTheExperts) {
  const std::vector<Span> spans{{"activation", "compute", 2 * kMs, 3 * kMs},
                                {"experts", "compute", 1 * kMs, 4 * kMs},
                                {"forward", "compute", 0, 5 * kMs},
                                {"activation backward", "compute", 7 * kMs, 9 * kMs},
                                {"ExpertsFunction backward", "compute", 6 * kMs, 10 * kMs},
                                {"backward", "compute", 5 * kMs, 10 * kMs}};
  const std::map<std::string, double> expected{
      {"forward experts", 3}, {"forward rest", 2}, {"backward experts", 4}, {"backward rest", 1}};
  EXPECT_EQ(split_steps(spans), expected);
}

}  // namespace
}  // namespace switchyard
