#include "launch/scale/agreement.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/launch/scale/planned_runs.h"

namespace switchyard {
namespace {

class Agreement : public PlannedRuns {
 protected:
  static std::vector<LossCheck> failures(const std::vector<MeasuredRun>& runs, const std::string& mode) {
    std::vector<LossCheck> failed = check_losses(runs, mode);
    std::erase_if(failed, [](const LossCheck& check) { return check.holds(); });
    return failed;
  }
  std::vector<MeasuredRun> strong(const std::string& precision) const {
    ScaleOptions options = this->options({1, 2, 4});
    options.overrides = {"train.precision=" + precision};
    return measured(plan(options));
  }
};

TEST_F(Agreement, EqualRunsHold) {
  for (const char* precision : {"bf16", "fp32", "fp64"}) EXPECT_TRUE(failures(strong(precision), "strong").empty());
}

TEST_F(Agreement, TheFirstLossMayDifferByRoundingsOnly) {
  for (const auto& [precision, little, much] :
       {std::tuple("fp64", 1e-15, 1e-12), std::tuple("fp32", 1e-7, 1e-3), std::tuple("bf16", 1e-4, 0.3)}) {
    std::vector<MeasuredRun> runs = strong(precision);
    runs[1].figures.losses[0] += little;
    EXPECT_TRUE(failures(runs, "strong").empty()) << precision;
    runs[1].figures.losses[0] += much;
    const std::vector<LossCheck> failed = failures(runs, "strong");
    ASSERT_EQ(failed.size(), 1U) << precision;
    EXPECT_EQ(failed[0].run, "2 ranks, run 1");
    EXPECT_EQ(failed[0].reference, "1 rank, run 1");
    EXPECT_EQ(failed[0].what, "loss");
    EXPECT_EQ(failed[0].step, 1);
  }
}

TEST_F(Agreement, BoundsGrowWithTheUpdatesBefore) {
  std::vector<MeasuredRun> runs = strong("fp32");
  const auto bound_at = [&](size_t step) {
    std::vector<MeasuredRun> changed = runs;
    changed[2].figures.losses[step] += 1;
    return failures(changed, "strong").at(0).bound;
  };
  EXPECT_LT(bound_at(0), bound_at(1));
  EXPECT_NEAR(bound_at(11) - bound_at(10), bound_at(2) - bound_at(1), 0.1 * (bound_at(2) - bound_at(1)));
  // With a rate and gradients of the usual size, 20 steps are held to far less than a loss changes by.
  EXPECT_LT(bound_at(19), 1e-3);
}

// AdamW would not show it: a gradient that is too large by a factor gives the same updates.
TEST_F(Agreement, TheFirstGradientsNormIsHeldToo) {
  std::vector<MeasuredRun> runs = strong("fp32");
  runs[2].figures.gradient_norms[0] *= 2;
  const std::vector<LossCheck> failed = failures(runs, "strong");
  ASSERT_EQ(failed.size(), 1U);
  EXPECT_EQ(failed[0].what, "gradient norm");
  EXPECT_EQ(failed[0].run, "4 ranks, run 1");
}

TEST_F(Agreement, RepeatsAreEqualToTheBit) {
  ScaleOptions options = this->options({1, 2});
  options.repeat = 2;
  for (const std::string mode : {"strong", "weak"}) {
    options.mode = mode;
    std::vector<MeasuredRun> runs = measured(plan(options));
    EXPECT_TRUE(failures(runs, mode).empty());
    double& loss = runs[3].figures.losses[7];
    loss = std::nextafter(loss, 9);
    const std::vector<LossCheck> failed = failures(runs, mode);
    ASSERT_EQ(failed.size(), 1U);
    EXPECT_EQ(failed[0].run, "2 ranks, run 2");
    EXPECT_EQ(failed[0].reference, "2 ranks, run 1");
    EXPECT_EQ(failed[0].step, 8);
  }
}

TEST_F(Agreement, WeakRunsAreHeldToTheReferenceOfTheirFirstStep) {
  ScaleOptions options = this->options({1, 2, 4});
  options.mode = "weak";
  std::vector<MeasuredRun> runs = measured(plan(options));
  // Batches differ, and so may all but the first loss with its reference.
  for (double& loss : runs[1].figures.losses) loss += 0.5;
  for (MeasuredRun& run : runs) {
    if (run.plan.reference_of == 2) run.figures.losses[0] += 0.5;
  }
  EXPECT_TRUE(failures(runs, "weak").empty());
  runs[2].figures.losses[0] += 0.1;
  const std::vector<LossCheck> failed = failures(runs, "weak");
  ASSERT_EQ(failed.size(), 1U);
  EXPECT_EQ(failed[0].run, "4 ranks, run 1");
  EXPECT_EQ(failed[0].reference, "1 rank, reference for 4");
}

TEST_F(Agreement, WhatIsNoNumberHoldsNowhere) {
  std::vector<MeasuredRun> runs = strong("bf16");
  runs[0].figures.losses[5] = std::numeric_limits<double>::quiet_NaN();
  const std::vector<LossCheck> failed = failures(runs, "strong");
  EXPECT_EQ(failed.size(), 3U);  // itself, and what is held to it
  for (const LossCheck& check : failed) EXPECT_EQ(check.step, 6);
}

TEST_F(Agreement, MissingRunsAreNoDisagreement) {
  ScaleOptions options = this->options({1, 2, 4});
  options.mode = "weak";
  std::vector<MeasuredRun> runs = measured(plan(options));
  std::erase_if(runs, [](const MeasuredRun& run) { return run.plan.reference_of > 0 || run.plan.ranks == 1; });
  EXPECT_TRUE(failures(runs, "weak").empty());
  EXPECT_TRUE(check_losses({}, "strong").empty());
}

}  // namespace
}  // namespace switchyard
