#include "parallel/tensor/rows.h"

#include <numeric>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "parallel/topology/box.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

const std::vector<std::vector<int64_t>> kRows = {{3}, {2, 3}, {4, 0}, {0, 0}, {1, 0, 4}, {2, 2, 1, 3}};

// Element [t, d] of what `rank` holds; distinct, exact in fp32 sums.
at::Tensor numbers(int64_t rows, int rank) {
  return (at::arange(rows * 2, at::kFloat).view({rows, 2}) + 1) * (1 << rank);
}

int64_t total(const std::vector<int64_t>& rows) {
  return std::accumulate(rows.begin(), rows.end(), int64_t{0});
}

// Rows of `rank` in a tensor of all rows.
at::Tensor own(const at::Tensor& x, const std::vector<int64_t>& rows, int rank) {
  return x.narrow(0, std::accumulate(rows.begin(), rows.begin() + rank, int64_t{0}), rows[rank]);
}

at::Tensor sum_over_ranks(int64_t rows, int ranks) {
  at::Tensor sum = at::zeros({rows, 2});
  for (int rank = 0; rank < ranks; ++rank) sum += numbers(rows, rank);
  return sum;
}

TEST(Rows, GatherAndItsGradient) {
  for (const auto& rows : kRows) {
    run_ranks(static_cast<int>(rows.size()), [&](Communicator& world) {
      at::Tensor x = own(numbers(total(rows), 0), rows, world.rank()).clone().set_requires_grad(true);
      const at::Tensor all = gather_rows(x, rows, world);
      EXPECT_TRUE(at::equal(all.detach(), numbers(total(rows), 0)));
      (all * numbers(total(rows), world.rank())).sum().backward();
      EXPECT_TRUE(at::equal(x.grad(), own(sum_over_ranks(total(rows), world.size()), rows, world.rank())));
    });
  }
}

TEST(Rows, ReduceScatterAndItsGradient) {
  for (const auto& rows : kRows) {
    run_ranks(static_cast<int>(rows.size()), [&](Communicator& world) {
      at::Tensor x = numbers(total(rows), world.rank()).set_requires_grad(true);
      const at::Tensor mine = reduce_scatter_rows(x, rows, world);
      EXPECT_TRUE(at::equal(mine.detach(), own(sum_over_ranks(total(rows), world.size()), rows, world.rank())));
      const at::Tensor g = numbers(total(rows), 0);
      (mine * own(g, rows, world.rank())).sum().backward();
      EXPECT_TRUE(at::equal(x.grad(), g));
    });
  }
}

TEST(Rows, AGroupOfOneCopiesNothing) {
  run_ranks(1, [](Communicator& world) {
    const at::Tensor x = at::ones({3, 2});
    EXPECT_TRUE(gather_rows(x, {3}, world).is_same(x));
    EXPECT_TRUE(reduce_scatter_rows(x, {3}, world).is_same(x));
  });
}

}  // namespace
}  // namespace switchyard
