#include "layers/ops/cross_entropy.h"

#include <cmath>

#include <gtest/gtest.h>

#include "parallel/topology/box.h"
#include "runtime/base/check.h"
#include "tests/layers/ops/whole_parameter.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

struct Problem {
  at::Tensor logits, targets;
  double scale = 0.125;
};

Problem problem(int64_t rows, int64_t vocab, at::ScalarType dtype) {
  at::manual_seed(7);
  Problem p;
  p.logits = (at::randn({rows, vocab}, at::kDouble) * 4).to(dtype);
  p.targets = at::randint(0, vocab, {rows}, at::kLong);
  for (int64_t t = 2; t < rows; t += 5) p.targets[t] = -1;
  if (rows > 1) p.logits[1] += 1000;  // exp would overflow without the row's maximum
  return p;
}

struct Result {
  std::vector<double> losses;  // by rank
  at::Tensor gradient;         // all slices side by side
};

Result plain(const Problem& p) {
  const at::Tensor logits = leaf(p.logits.to(at::kDouble));
  const at::Tensor each = at::nll_loss(at::log_softmax(logits, 1), p.targets, {}, at::Reduction::Sum, -1);
  const at::Tensor loss = each * p.scale;
  loss.backward();
  return {{loss.item<double>()}, logits.grad()};
}

Result over_ranks(const Problem& p, int ranks) {
  const int64_t vocab = p.logits.size(1);
  Result result{std::vector<double>(ranks), at::empty_like(p.logits)};
  run_ranks(ranks, [&](Communicator& world) {
    const auto [begin, end] = cut(vocab, ranks, world.rank());
    const at::Tensor x = leaf(p.logits.slice(1, begin, end));
    const at::Tensor loss = cross_entropy(x * 1, p.targets, begin, p.scale, world);
    loss.backward();
    result.losses[world.rank()] = loss.item<double>();
    result.gradient.slice(1, begin, end).copy_(x.grad());
  });
  return result;
}

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double v : values) total += v;
  return total;
}

// Bounds: the reference itself takes log Σ exp of a row of logits near 1,000, whose last place is 1e-13.
TEST(CrossEntropy, EqualsPlainAutogradOverAnyNumberOfRanks) {
  for (const int64_t vocab : {1, 2, 37, 64}) {  // fewer words than ranks, and slices that fill no register
    const Problem p = problem(23, vocab, at::kDouble);
    const Result expected = plain(p);
    for (const int ranks : {1, 2, 3, 4}) {
      const Result result = over_ranks(p, ranks);
      EXPECT_NEAR(sum(result.losses), expected.losses[0], 1e-11) << vocab << " words on " << ranks;
      EXPECT_LE(max_difference(result.gradient, expected.gradient), 1e-13) << vocab << " words on " << ranks;
    }
  }
}

TEST(CrossEntropy, EveryRankReturnsTheLossOfItsShareOfRows) {
  const Problem p = problem(10, 17, at::kDouble);
  const Result result = over_ranks(p, 3);
  for (int rank = 0; rank < 3; ++rank) {
    const auto [begin, end] = cut(10, 3, rank);
    const Problem share{p.logits.slice(0, begin, end), p.targets.slice(0, begin, end)};
    EXPECT_NEAR(result.losses[rank], plain(share).losses[0], 1e-12);
  }
}

TEST(CrossEntropy, LowerPrecisionsStayNearFp64) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Problem p = problem(40, 1003, dtype);
    const Result expected = plain(p), result = over_ranks(p, 2);
    EXPECT_NEAR(sum(result.losses), expected.losses[0], 1e-6 * expected.losses[0]);
    EXPECT_EQ(result.gradient.scalar_type(), dtype);
    EXPECT_TRUE(close(result.gradient, expected.gradient, dtype == at::kFloat ? 3e-6 : 0x1p-8 * 1.01, 1e-9));
  }
}

TEST(CrossEntropy, RowsThatCountNothing) {
  Problem p = problem(6, 9, at::kFloat);
  p.targets.fill_(-1);
  const Result result = over_ranks(p, 2);
  EXPECT_EQ(sum(result.losses), 0);
  EXPECT_EQ(result.gradient.abs().max().item<float>(), 0);
  EXPECT_EQ(sum(over_ranks(problem(0, 9, at::kFloat), 3).losses), 0);
}

TEST(CrossEntropy, ShowsANanAndAWholeRowOfEqualLogits) {
  Problem p = problem(2, 16, at::kFloat);
  p.logits.fill_(3);
  EXPECT_NEAR(sum(over_ranks(p, 1).losses), 2 * p.scale * std::log(16.0), 1e-6);
  p.logits[0][5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(sum(over_ranks(p, 2).losses)));
}

TEST(CrossEntropy, WeighsByTheIncomingGradientAndRefusesASecondBackward) {
  const Problem p = problem(5, 8, at::kDouble);
  run_ranks(1, [&](Communicator& world) {
    const at::Tensor x = leaf(p.logits);
    const at::Tensor loss = cross_entropy(x * 1, p.targets, 0, p.scale, world);
    (loss * 3).backward({}, /*keep_graph=*/true);
    EXPECT_LE(max_difference(x.grad(), plain(p).gradient * 3), 1e-13);
    EXPECT_THROW(loss.backward(), CheckError);
  });
}

}  // namespace
}  // namespace switchyard
