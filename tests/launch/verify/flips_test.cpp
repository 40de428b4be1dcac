#include "launch/verify/flips.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/verify/one_rank.h"

namespace switchyard {
namespace {

// Tokens go to the expert whose coordinate is larger.
class TwoExperts : public testing::Test {
 protected:
  TwoExperts() : parameters_(Precision::kFp64, 1) {
    config_.experts = 2;
    config_.experts_per_token = 1;
    router_ = make_plain_router("moe", 2, 1, 1, config_, one_rank_.mesh(), parameters_);
    parameters_.all().front().value.copy_(at::eye(2, at::kDouble));
  }

  // Of `tokens` tokens that prefer expert 1 by `gap` with coordinates of 1, of which the first `flipped` went to 0.
  Flips flips_of(int64_t tokens, int64_t flipped, double gap, double margin) {
    at::Tensor x_TD = at::ones({tokens, 2}, at::kDouble);
    x_TD.select(1, 1).add_(gap);
    at::Tensor experts = at::ones({tokens}, at::kLong);
    experts.narrow(0, 0, flipped).zero_();
    const Choice choice{.offsets = at::arange(tokens + 1, at::kLong), .experts = experts, .kept = {}};
    TokenContext context;
    context.population = tokens;
    return count_flips(*router_, x_TD, context, choice, 2, margin, "layer 3");
  }

  MoeConfig config_;
  const OneRank one_rank_;
  PlainParameters parameters_;
  std::unique_ptr<PlainRouter> router_;
};

TEST_F(TwoExperts, AreExplainedWithinTheMargin) {
  EXPECT_EQ(flips_of(5, 0, 1e-6, 1e-6).flipped, 0);
  const Flips explained = flips_of(5, 1, 1e-6, 1e-6);
  EXPECT_EQ(explained.tokens, 5);
  EXPECT_EQ(explained.flipped, 1);
  EXPECT_EQ(explained.unexplained, 0);
}

TEST_F(TwoExperts, AreNotExplainedBeyondIt) {
  const Flips flips = flips_of(5, 1, 1e-6, 1e-8);
  EXPECT_EQ(flips.flipped, 1);
  EXPECT_EQ(flips.unexplained, 1);
  EXPECT_EQ(flips.first, "layer 3, token 0");
}

// A perturbation makes one flip of 15: four of 64 are ordinary, 64 are not, though each is possible by itself.
TEST_F(TwoExperts, MayNotFlipMoreOftenThanPerturbationsDo) {
  const double margin = 1e-6, gap = 1.5 * std::sqrt(2.0) * margin;
  EXPECT_EQ(flips_of(64, 4, gap, margin).unexplained, 0);
  const Flips flips = flips_of(64, 64, gap, margin);
  EXPECT_EQ(flips.unexplained, 64);
  EXPECT_THAT(flips.first, testing::HasSubstr("layer 3: 64 flips where rounding makes"));
}

TEST(Chance, IsPoissons) {
  EXPECT_EQ(chance_of(0, 0.5), 1);
  EXPECT_NEAR(chance_of(1, 0.5), 1 - std::exp(-0.5), 1e-15);
  EXPECT_NEAR(chance_of(2, 0.5), 1 - 1.5 * std::exp(-0.5), 1e-15);
  EXPECT_LT(chance_of(3, 0.01), 1e-6);
}

}  // namespace
}  // namespace switchyard
