#include "layers/ops/cross_entropy.h"

#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "parallel/topology/box.h"
#include "runtime/base/check.h"
#include "tests/layers/ops/whole_parameter.h"
#include "tests/support/allocations.h"
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

// Logits that pass through a head that changes nothing.
Result over_ranks(const Problem& p, int ranks) {
  const int64_t vocab = p.logits.size(1);
  const at::Tensor identity_VV = at::eye(vocab, p.logits.options());
  Result result{std::vector<double>(ranks), at::empty_like(p.logits)};
  run_ranks(ranks, [&](Communicator& world) {
    const auto [begin, end] = cut(vocab, ranks, world.rank());
    const auto head = whole_parameter(identity_VV.slice(0, begin, end));
    const at::Tensor x = leaf(p.logits);
    const at::Tensor loss = linear_cross_entropy(x, *head, p.targets, {.vocab_begin = begin, .scale = p.scale}, world);
    loss.backward();
    result.losses[world.rank()] = loss.item<double>();
    result.gradient.slice(1, begin, end).copy_(x.grad().slice(1, begin, end));
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
  run_ranks(2, [&](Communicator& world) {  // in the first rank's slice
    const at::Tensor weight_VD = at::eye(16);
    weight_VD[5][5] = std::numeric_limits<float>::quiet_NaN();
    const auto [begin, end] = cut(16, 2, world.rank());
    const auto head = whole_parameter(weight_VD.slice(0, begin, end));
    const at::Tensor loss = linear_cross_entropy(p.logits, *head, p.targets, {.vocab_begin = begin}, world);
    EXPECT_TRUE(std::isnan(loss.item<float>())) << world.rank();
  });
}

TEST(CrossEntropy, WeighsByTheIncomingGradientAndRefusesASecondBackward) {
  const Problem p = problem(5, 8, at::kDouble);
  for (const bool again : {false, true}) {
    run_ranks(1, [&](Communicator& world) {
      const auto head = whole_parameter(at::eye(8, at::kDouble));
      const at::Tensor x = leaf(p.logits);
      const at::Tensor loss = linear_cross_entropy(x, *head, p.targets, {.scale = p.scale, .recompute = again}, world);
      (loss * 3).backward({}, /*keep_graph=*/true);
      EXPECT_LE(max_difference(x.grad(), plain(p).gradient * 3), 1e-13);
      EXPECT_THROW(loss.backward(), CheckError);
    });
  }
}

// A head over more rows than one block, the last of which is short.
struct HeadCase {
  static constexpr int64_t kRows = 2 * kLossBlockRows + 5, kWidth = 6, kVocab = 11;
  at::Tensor x_TD, weight_VD, targets_T;

  explicit HeadCase(int64_t rows) {
    at::manual_seed(3);
    x_TD = at::randn({rows, kWidth}, at::kDouble);
    weight_VD = at::randn({kVocab, kWidth}, at::kDouble);
    targets_T = at::randint(-1, kVocab, {rows}, at::kLong);
  }
};

struct HeadResult {
  double loss = 0;
  at::Tensor dx_TD, dw_VD;
};

HeadResult plain(const HeadCase& c) {
  const at::Tensor x = leaf(c.x_TD), w = leaf(c.weight_VD);
  const at::Tensor loss =
      at::nll_loss(at::log_softmax(x.matmul(w.t()), 1), c.targets_T, {}, at::Reduction::Sum, -1) * 0.5;
  loss.backward();
  return {loss.item<double>(), x.grad(), w.grad()};
}

HeadResult over_ranks(const HeadCase& c, int ranks, bool recompute) {
  HeadResult result{0, at::zeros_like(c.x_TD), at::zeros_like(c.weight_VD)};
  std::vector<double> losses(ranks);
  std::vector<at::Tensor> dx(ranks);
  run_ranks(ranks, [&](Communicator& world) {
    const auto [begin, end] = cut(HeadCase::kVocab, ranks, world.rank());
    const auto head = whole_parameter(c.weight_VD.slice(0, begin, end));
    head->gradient().fill_(7);  // of a step before
    head->clear_gradient();
    const at::Tensor x = leaf(c.x_TD);
    const at::Tensor loss = linear_cross_entropy(x, *head, c.targets_T,
                                                 {.vocab_begin = begin, .scale = 0.5, .recompute = recompute}, world);
    loss.backward();
    losses[world.rank()] = loss.item<double>();
    dx[world.rank()] = x.grad();
    result.dw_VD.slice(0, begin, end).copy_(head->gradient());
  });
  for (int rank = 0; rank < ranks; ++rank) {
    result.loss += losses[rank];
    result.dx_TD += dx[rank];
  }
  return result;
}

TEST(CrossEntropy, IsThatOfAHeadInBlocksOfRowsKeptOrMadeAgain) {
  for (const int64_t rows : {HeadCase::kRows, kLossBlockRows, int64_t{0}}) {
    const HeadCase c(rows);
    const HeadResult expected = plain(c);
    for (const int ranks : {1, 3}) {
      for (const bool recompute : {false, true}) {
        const HeadResult result = over_ranks(c, ranks, recompute);
        EXPECT_NEAR(result.loss, expected.loss, 1e-12 * std::abs(expected.loss)) << rows << " rows on " << ranks;
        EXPECT_LE(max_difference(result.dx_TD, expected.dx_TD), 1e-13) << rows << " rows on " << ranks;
        EXPECT_LE(max_difference(result.dw_VD, expected.dw_VD), 1e-11) << rows << " rows on " << ranks;
      }
    }
  }
}

TEST(CrossEntropy, AddsToAGradientThatIsThere) {
  const HeadCase c(HeadCase::kRows);
  for (const bool recompute : {false, true}) {
    run_ranks(1, [&](Communicator& world) {
      const auto head = whole_parameter(c.weight_VD);
      const CrossEntropyOptions options{.scale = 0.5, .recompute = recompute};
      for (int part = 0; part < 2; ++part) {
        linear_cross_entropy(leaf(c.x_TD), *head, c.targets_T, options, world).backward();
      }
      EXPECT_LE(max_difference(head->gradient(), plain(c).dw_VD * 2), 1e-11);
    });
  }
}

TEST(CrossEntropy, ShowsTheLogitsOfAllRowsInTurn) {
  const HeadCase c(HeadCase::kRows);
  run_ranks(1, [&](Communicator& world) {
    const auto head = whole_parameter(c.weight_VD);
    std::vector<at::Tensor> seen;
    int64_t rows = 0;
    const auto observer = [&](const at::Tensor& logits_tV, int64_t first_row) {
      EXPECT_EQ(first_row, rows);
      EXPECT_LE(logits_tV.size(0), kLossBlockRows);
      rows += logits_tV.size(0);
      seen.push_back(logits_tV.clone());
    };
    linear_cross_entropy(c.x_TD, *head, c.targets_T, {.recompute = true, .observer = observer}, world);
    EXPECT_LE(max_difference(at::cat(seen), c.x_TD.matmul(c.weight_VD.t())), 1e-13);
  });
}

// Bytes of the largest tensor that a loss over many words and its gradients allocate.
int64_t largest_tensor(int64_t rows, int64_t vocab,
                       const std::function<at::Tensor(const at::Tensor&, Parameter&, const at::Tensor&)>& loss) {
  const auto head = whole_parameter(at::randn({vocab, 2}));
  const at::Tensor x = leaf(at::randn({rows, 2})), targets = at::zeros({rows}, at::kLong);
  const Allocations allocations;
  const at::Tensor value = loss(x, *head, targets);
  if (value.requires_grad()) value.backward();
  return allocations.largest();
}

TEST(CrossEntropy, MakesNoMoreLogitsThanABlockUnlessTheyAreKept) {
  constexpr int64_t kRows = 4 * kLossBlockRows, kVocab = 512, kRowBytes = kVocab * sizeof(float);
  run_ranks(1, [&](Communicator& world) {
    const auto with = [&](bool recompute) {
      return [&world, recompute](const at::Tensor& x, Parameter& head, const at::Tensor& targets) {
        return linear_cross_entropy(x, head, targets, {.recompute = recompute}, world);
      };
    };
    EXPECT_EQ(largest_tensor(kRows, kVocab, with(false)), kRows * kRowBytes);
    EXPECT_EQ(largest_tensor(kRows, kVocab, with(true)), kLossBlockRows * kRowBytes);
    const at::NoGradGuard evaluation;
    EXPECT_EQ(largest_tensor(kRows, kVocab, with(false)), kLossBlockRows * kRowBytes);
  });
}

}  // namespace
}  // namespace switchyard
