#include "layers/moe/router/posterior.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/ranks.h"

namespace switchyard {
namespace {

constexpr int64_t kWidth = 6, kExperts = 3;

ExpertPosterior make(const BayesianConfig& config = {}) {
  return {"moe.router", kWidth, kExperts, config, 7};
}

at::Tensor counts(const ExpertPosterior& posterior) {
  return posterior.buffers()[0].value;
}

TEST(Posterior, UpdatesAreConjugateAndOldOutcomesFade) {
  ExpertPosterior posterior = make({.clusters = 2, .prior = 2, .forgetting = 0.5});
  EXPECT_TRUE(at::equal(posterior.mean(), at::full({2, kExperts}, 0.5, at::kDouble)));
  // Cell 4: cluster 1, expert 1. Three good outcomes and one bad one on top of two and two.
  const at::Tensor cells = at::tensor({4, 4, 4, 4}, at::kLong);
  const at::Tensor good = at::tensor({1, 1, 0, 1}, at::kLong).to(at::kBool);
  posterior.observe(cells, good, at::full({4}, 0.5, at::kDouble));
  EXPECT_EQ(posterior.mean()[1][1].item<double>(), 0.5) << "taken in by take() alone";
  posterior.take(nullptr);
  EXPECT_EQ(counts(posterior)[0][1][1].item<double>(), 5);
  EXPECT_EQ(counts(posterior)[1][1][1].item<double>(), 3);
  EXPECT_DOUBLE_EQ(posterior.mean()[1][1].item<double>(), 5.0 / 8);
  posterior.observe(cells.narrow(0, 0, 1), good.narrow(0, 0, 1), at::full({1}, 0.6, at::kDouble));
  posterior.take(nullptr);
  EXPECT_EQ(counts(posterior)[0][1][1].item<double>(), 2 + 0.5 * 3 + 1);
  EXPECT_EQ(counts(posterior)[1][1][1].item<double>(), 2 + 0.5 * 1);
  EXPECT_EQ(counts(posterior)[0][0][0].item<double>(), 2) << "other cells keep the prior";
}

TEST(Posterior, CalibrationErrorIsTheGapBetweenConfidenceAndOutcomes) {
  ExpertPosterior posterior = make();
  EXPECT_EQ(posterior.calibration_error(), -1);
  // Ten outcomes at confidence 0.72, five of them good; two at 0.31, none good.
  const at::Tensor good = at::cat({at::ones({5}, at::kBool), at::zeros({7}, at::kBool)});
  const at::Tensor confidence = at::cat({at::full({10}, 0.72, at::kDouble), at::full({2}, 0.31, at::kDouble)});
  posterior.observe(at::zeros({12}, at::kLong), good, confidence);
  posterior.take(nullptr);
  EXPECT_NEAR(posterior.calibration_error(), (10 * 0.22 + 2 * 0.31) / 12, 1e-12);
}

TEST(Posterior, ThompsonDrawsHaveTheMomentsOfTheBetaDistribution) {
  for (const double prior : {0.5, 3.0}) {
    ExpertPosterior posterior = make({.clusters = 1, .prior = prior});
    posterior.observe(at::zeros({9}, at::kLong), at::tensor({1, 1, 1, 1, 1, 1, 1, 0, 0}, at::kLong).to(at::kBool),
                      at::full({9}, 0.5, at::kDouble));
    posterior.take(nullptr);
    constexpr int kDraws = 4000;
    at::Tensor draws = at::empty({kDraws}, at::kDouble);
    for (int i = 0; i < kDraws; ++i) draws[i] = posterior.explore(i, 0)[0][0];
    const double a = prior + 7, b = prior + 2, variance = a * b / ((a + b) * (a + b) * (a + b + 1));
    EXPECT_NEAR(draws.mean().item<double>(), a / (a + b), 4 * std::sqrt(variance / kDraws));
    EXPECT_NEAR(draws.var().item<double>(), variance, 0.1 * variance);
    EXPECT_TRUE(at::equal(posterior.explore(5, 1), posterior.explore(5, 1)));
    EXPECT_FALSE(at::equal(posterior.explore(5, 1), posterior.explore(5, 2)));
  }
}

TEST(Posterior, UpperConfidenceAddsDeviations) {
  ExpertPosterior posterior = make({.clusters = 1, .explore = "ucb", .strength = 2, .prior = 1});
  EXPECT_NEAR(posterior.explore(0, 0)[0][0].item<double>(), 0.5 + 2 * std::sqrt(1.0 / 12), 1e-12);
}

// Expert 0 is right on one kind of input and wrong on the other, expert 1 the other way round, expert 2 never; being
// wrong costs the same.
TEST(Posterior, LearnsOnlineWhichExpertServesWhichInputs) {
  ExpertPosterior posterior = make({.clusters = 4, .forgetting = 0.9});
  const at::Tensor one = at::sin(at::arange(kWidth, at::kDouble));
  const at::Tensor x = at::stack({one, -one}).repeat({10, 1});  // opposite inputs are never in one cluster
  ASSERT_FALSE(at::equal(posterior.clusters(x)[0], posterior.clusters(x)[1]));
  const at::Tensor y = at::arange(20, at::kDouble).unsqueeze(1);
  const at::Tensor wrong = at::tensor({0.0, 2.0, 2.0, 2.0, 0.0, 2.0}, at::kDouble).view({2, 3}).repeat({10, 1});
  for (int64_t step = 0; step < 20; ++step) posterior.update_weights(x, y, y.unsqueeze(2) + wrong.unsqueeze(2));
  const at::Tensor chance = posterior.predict(x);
  EXPECT_GT(chance[0][0].item<double>(), 0.9);
  EXPECT_GT(chance[1][1].item<double>(), 0.9);
  EXPECT_LT(chance[0][2].item<double>(), 0.1);
  const Choice choice = posterior.route(x, 1, 20);
  EXPECT_EQ(choice.experts[0].item<int64_t>(), 0);
  EXPECT_EQ(choice.experts[1].item<int64_t>(), 1);
}

// One rank has no inputs at all.
TEST(Posterior, LearnsOnlineTheSameOnAllRanks) {
  const BayesianConfig config{.clusters = 4, .forgetting = 0.9};
  const at::Tensor x = at::sin(at::arange(9 * kWidth, at::kDouble) * 1.3).view({9, kWidth});
  const at::Tensor y = at::cos(at::arange(18, at::kDouble)).view({9, 2});
  const at::Tensor y_hat = at::cos(at::arange(18 * kExperts, at::kDouble) * 2.1).view({9, kExperts, 2});
  ExpertPosterior whole = make(config);
  for (int step = 0; step < 2; ++step) whole.update_weights(x, y, y_hat);
  ASSERT_GT((whole.mean() - 0.5).abs().max().item<double>(), 0.1);
  run_ranks(3, [&](Communicator& world) {
    const int64_t begin = world.rank() == 0 ? 0 : 4, end = world.rank() == 1 ? 9 : 4;
    const auto mine = [&](const at::Tensor& all) { return all.narrow(0, begin, end - begin); };
    ExpertPosterior posterior = make(config);
    for (int step = 0; step < 2; ++step) posterior.update_weights(mine(x), mine(y), mine(y_hat), &world);
    EXPECT_TRUE(at::allclose(counts(posterior), counts(whole), 1e-12, 1e-12));
    EXPECT_NEAR(posterior.calibration_error(), whole.calibration_error(), 1e-12);
    EXPECT_TRUE(at::equal(posterior.route(x, 2, 7).experts, whole.route(x, 2, 7).experts));
  });
}

}  // namespace
}  // namespace switchyard
