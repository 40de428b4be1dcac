#include "layers/moe/router/population.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "layers/moe/router/population_top.h"
#include "parallel/topology/box.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

// What population_top should give: sorted whole, ties by place.
at::Tensor best_by_sorting(const at::Tensor& experts, const at::Tensor& scores, int64_t expert_count, int64_t limit) {
  at::Tensor kept = at::zeros({experts.numel()}, at::kBool);
  for (int64_t e = 0; e < expert_count; ++e) {
    std::vector<int64_t> candidates;
    for (int64_t i = 0; i < experts.numel(); ++i) {
      if (experts[i].item<int64_t>() == e) candidates.push_back(i);
    }
    const auto score = [&](int64_t i) {
      const double value = scores.defined() ? scores[i].item<double>() : 0;
      return std::isnan(value) ? -INFINITY : value;
    };
    std::stable_sort(candidates.begin(), candidates.end(), [&](int64_t a, int64_t b) { return score(a) > score(b); });
    candidates.resize(std::min<size_t>(candidates.size(), limit));
    for (const int64_t i : candidates) kept[i] = true;
  }
  return kept;
}

void expect_top(const at::Tensor& experts, const at::Tensor& scores, int64_t limit) {
  constexpr int64_t kExperts = 4;
  const at::Tensor expected = best_by_sorting(experts, scores, kExperts, limit);
  for (const int ranks : {1, 2, 3, 7}) {
    SCOPED_TRACE(absl::StrCat(ranks, " ranks, limit ", limit));
    std::vector<at::Tensor> parts(ranks);
    run_ranks(ranks, [&](Communicator& world) {
      const auto [begin, end] = cut(experts.numel(), ranks, world.rank());
      const at::Tensor mine = scores.defined() ? scores.narrow(0, begin, end - begin) : at::Tensor();
      parts[world.rank()] = population_top(experts.narrow(0, begin, end - begin), mine, kExperts, limit, world);
    });
    EXPECT_TRUE(at::equal(at::cat(parts), expected));
  }
}

TEST(PopulationTop, IsTheSortedBestOnAnyNumberOfRanks) {
  constexpr int64_t kCandidates = 61;
  // Expert 3 has hardly any candidates.
  const at::Tensor draws = at::remainder(at::arange(kCandidates, at::kLong) * 37, 31);
  const at::Tensor experts = at::where(draws < 2, 3, at::remainder(draws, 3));
  const at::Tensor scores = at::sin(at::arange(kCandidates, at::kDouble) * 2.3) * 1e3;
  for (const int64_t limit : {1, 2, 9, 30}) {
    expect_top(experts, scores, limit);
    expect_top(experts, scores.to(at::kFloat), limit);
    expect_top(experts, at::floor(scores / 500), limit);  // many ties
    expect_top(experts, {}, limit);                       // nothing but ties
  }
}

TEST(PopulationTop, OrdersSignsZerosInfinitiesAndNaN) {
  const at::Tensor scores =
      at::tensor({-1.0, 0.0, -0.0, 1e-310, -INFINITY, INFINITY, std::nan(""), -1e-310, 2.0}, at::kDouble);
  for (int64_t limit = 1; limit <= 9; ++limit) expect_top(at::zeros({9}, at::kLong), scores, limit);
}

// The variance of sums over ranks, by which no rank's part of the loss is a function of its own alone.
TEST(PopulationSums, SharesAddUpToTheLossAndItsGradients) {
  const at::Tensor x = at::sin(at::arange(14, at::kDouble)).view({7, 2});
  const at::Tensor whole = x.clone().set_requires_grad(true);
  const at::Tensor expected = whole.exp().sum(0).var(false);
  expected.backward();
  for (const int ranks : {1, 3}) {
    std::vector<at::Tensor> gradients(ranks);
    double total = 0;
    std::mutex mutex;
    run_ranks(ranks, [&](Communicator& world) {
      const auto [begin, end] = cut(7, ranks, world.rank());
      const at::Tensor mine = x.narrow(0, begin, end - begin).clone().set_requires_grad(true);
      PopulationSums sums;
      sums.add("exp", mine.exp().sum(0));
      sums.add("rows", at::full({}, end - begin, at::kLong));
      sums.reduce(world);
      EXPECT_EQ(sums["rows"].item<double>(), 7);
      const at::Tensor share = sums.share(sums["exp"].var(false), at::kDouble);
      share.backward();
      const std::lock_guard lock(mutex);
      gradients[world.rank()] = mine.grad();
      total += share.item<double>();
    });
    EXPECT_NEAR(total, expected.item<double>(), 1e-12);
    EXPECT_TRUE(at::allclose(at::cat(gradients), whole.grad(), 1e-12, 1e-12));
  }
}

}  // namespace
}  // namespace switchyard
