#include "parallel/dispatch/alpha_beta.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace switchyard {
namespace {

std::vector<TimedTransfer> transfers(double alpha, double beta) {
  std::vector<TimedTransfer> all;
  for (double bytes = 1024; bytes < 1e8; bytes *= 4) all.push_back({bytes, alpha + beta * bytes});
  return all;
}

TEST(AlphaBeta, FindsWhatMadeTheTimes) {
  const auto fit = fit_alpha_beta(transfers(0.012, 3e-7));
  ASSERT_TRUE(fit);
  EXPECT_NEAR(fit->alpha, 0.012, 1e-12);
  EXPECT_NEAR(fit->beta, 3e-7, 1e-15);
  EXPECT_NEAR(fit->residual, 0, 1e-12);
  EXPECT_NEAR(fit->time(1e6), 0.312, 1e-9);
}

// Least squares of absolute deviations would take its latency from the noise of the largest.
TEST(AlphaBeta, CountsDeviationsByTheTimesThatTheyAreOf) {
  std::vector<TimedTransfer> noisy = transfers(0.012, 3e-7);
  noisy.back().time *= 1.1;
  const auto fit = fit_alpha_beta(noisy);
  ASSERT_TRUE(fit);
  EXPECT_NEAR(fit->alpha, 0.012, 0.012 * 0.02);
  EXPECT_NEAR(fit->beta, 3e-7, 3e-7 * 0.05);
  // Of nine, one is off by about a tenth.
  EXPECT_GT(fit->residual, 0.02);
  EXPECT_LT(fit->residual, 0.1 / 3);
}

TEST(AlphaBeta, HoldsTheBoundAtZero) {
  // Faster for more: no time a byte, and the α that minimises (α/2−1)² + (α/1−1)² is (1/2 + 1) / (1/4 + 1).
  const auto flat = fit_alpha_beta(std::vector<TimedTransfer>{{1, 2}, {2, 1}});
  ASSERT_TRUE(flat);
  EXPECT_EQ(flat->beta, 0);
  EXPECT_DOUBLE_EQ(flat->alpha, 1.2);
  EXPECT_DOUBLE_EQ(flat->residual, std::sqrt((0.4 * 0.4 + 0.2 * 0.2) / 2));
  // A line through (1, 1) and (2, 3) starts at −1: β alone minimises (β−1)² + (2β/3−1)² at (1 + 2/3) / (1 + 4/9).
  const auto steep = fit_alpha_beta(std::vector<TimedTransfer>{{1, 1}, {2, 3}});
  ASSERT_TRUE(steep);
  EXPECT_EQ(steep->alpha, 0);
  EXPECT_DOUBLE_EQ(steep->beta, 15.0 / 13);
}

TEST(AlphaBeta, NeedsTwoSizes) {
  EXPECT_FALSE(fit_alpha_beta({}));
  EXPECT_FALSE(fit_alpha_beta(std::vector<TimedTransfer>{{8, 1}}));
  EXPECT_FALSE(fit_alpha_beta(std::vector<TimedTransfer>{{8, 1}, {8, 2}}));
}

}  // namespace
}  // namespace switchyard
