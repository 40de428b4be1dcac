// Where one rank is too small, a second layout stands in for the reference.

#include "launch/verify/stand_in.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/launch/verify/small_verification.h"

namespace switchyard {
namespace {

SmallVerification without_memory() {
  SmallVerification what;
  what.memory_bytes = 1;
  what.config.parallel = {.tensor = 3, .expert = 2};
  return what;
}

TEST(StandIn, IsASecondLayoutAndSaysSo) {
  for (const char* precision : {"fp64", "fp32", "bf16"}) {
    SmallVerification what = without_memory();
    what.config.train.precision = precision;
    const VerifyResult result = value_or_throw(what.run(6));
    EXPECT_TRUE(result.pass()) << precision << "\n" << failures_of(result);
    EXPECT_THAT(result.reference, testing::HasSubstr("NOT one rank"));
    EXPECT_EQ(result.steps, 2);
  }
}

// It takes the layout's choices; those are judged by what the layout's routers saw.
TEST(StandIn, LeavesChoicesToTheLayoutsOwnInputs) {
  SmallVerification what = without_memory();
  what.config.model.moe.router.balance.jitter = 0.5;
  const VerifyResult result = value_or_throw(what.run(6));
  EXPECT_EQ(result.flips.tokens, 0);
  EXPECT_EQ(result.own_flips.tokens, 2 * 2 * 21);
  EXPECT_EQ(result.own_flips.unexplained, 0);
  what.inject = "shift_router_draws";
  EXPECT_GT(value_or_throw(what.run(6)).own_flips.unexplained, 0);
}

TEST(StandIn, FindsBugsOfTheAskedLayout) {
  for (const char* kind : {"forget_row_gradients", "swap_experts", "stale_shard", "double_divisor"}) {
    SmallVerification what = without_memory();
    what.inject = kind;
    EXPECT_FALSE(value_or_throw(what.run(6)).pass()) << kind;
  }
}

TEST(StandIn, DiffersFromTheAskedLayout) {
  SmallVerification what;
  const ParallelConfig other = value_or_throw(other_layout({.tensor = 3, .expert = 2}, 6, what.config.model));
  EXPECT_NE(other.tensor, 3);
  EXPECT_NE(other.expert, 2);
  EXPECT_NE(other.expert_tensor, 1);
  EXPECT_EQ(error_category(other_layout({}, 1, what.config.model).status()), ErrorCategory::kOutOfMemory);
}

}  // namespace
}  // namespace switchyard
