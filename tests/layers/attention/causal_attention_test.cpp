#include "layers/attention/causal_attention.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "tests/layers/ops/whole_parameter.h"

namespace switchyard {
namespace {

// One thread, but where a test asks for more: small cases gain nothing from waiting for each other.
struct CausalAttention : testing::Test {
  CausalAttention() { at::set_num_threads(1); }
};

// Softmax with a mask, piece by piece and head by head.
at::Tensor plain(const at::Tensor& qkv, const std::vector<int64_t>& starts, HeadCounts heads) {
  const int64_t width = heads.width;
  std::vector<at::Tensor> pieces{qkv.slice(0, 0, 0).slice(1, 0, heads.query * width)};
  for (size_t i = 0; i + 1 < starts.size(); ++i) {
    const at::Tensor rows = qkv.slice(0, starts[i], starts[i + 1]);
    const at::Tensor hidden = at::ones({rows.size(0), rows.size(0)}, at::kBool).triu(1);
    std::vector<at::Tensor> columns;
    for (int64_t h = 0; h < heads.query; ++h) {
      const int64_t j = h / (heads.query / heads.key_value);
      const at::Tensor q = rows.narrow(1, h * width, width), k = rows.narrow(1, (heads.query + j) * width, width);
      const at::Tensor v = rows.narrow(1, (heads.query + heads.key_value + j) * width, width);
      const at::Tensor scores = at::matmul(q, k.t()) / std::sqrt(static_cast<double>(width));
      const at::Tensor visible = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
      columns.push_back(at::matmul(at::softmax(visible, 1), v));
    }
    pieces.push_back(at::cat(columns, 1));
  }
  return at::cat(pieces, 0);
}

struct Case {
  std::vector<int64_t> starts;
  HeadCounts heads;
};

const std::vector<Case> kCases = {
    {{0, 5}, {1, 1, 4}},        {{0, 1, 2, 40, 41}, {4, 2, 16}},
    {{0, 32, 64}, {3, 3, 6}},   {{0, 300}, {6, 2, 8}},  // several blocks, the last not full
    {{0, 257, 290}, {8, 1, 2}}, {{0}, {4, 2, 8}},       // no rows
};

TEST_F(CausalAttention, EqualsPlainAutograd) {
  at::manual_seed(1);
  for (const auto& [starts, heads] : kCases) {
    const at::Tensor x = at::randn({starts.back(), heads.columns()}, at::kDouble) * 2;
    const at::Tensor g = at::randn({starts.back(), heads.query * heads.width}, at::kDouble);
    const at::Tensor a = leaf(x), b = leaf(x);
    const at::Tensor expected = plain(a, starts, heads), result = causal_attention(b, starts, heads);
    EXPECT_LE(max_difference(result, expected), 1e-13);
    expected.backward(g);
    result.backward(g);
    EXPECT_LE(max_difference(b.grad(), a.grad()), 1e-12);
  }
}

TEST_F(CausalAttention, LowerPrecisionsStayNearFp64) {
  at::manual_seed(2);
  const std::vector<int64_t> starts = {0, 100, 430};
  const HeadCounts heads{4, 2, 32};
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = at::randn({430, heads.columns()}).to(dtype);
    const at::Tensor g = at::randn({430, heads.query * heads.width}).to(dtype);
    const at::Tensor a = leaf(x.to(at::kDouble)), b = leaf(x);
    const at::Tensor expected = plain(a, starts, heads), result = causal_attention(b, starts, heads);
    expected.backward(g.to(at::kDouble));
    result.backward(g);
    EXPECT_EQ(result.scalar_type(), dtype);
    // bf16: weights and the gradients of scores are rounded once before they are multiplied. fp32: e^x of arguments up
    // to 10, which carry half a unit of their own last place, 5e-7.
    const double bound = dtype == at::kFloat ? 1e-6 : 4 * 0x1p-8;
    const auto relative = [](const at::Tensor& got, const at::Tensor& exact) {
      return ((got.to(at::kDouble) - exact).norm() / exact.norm()).item<double>();
    };
    EXPECT_LE(relative(result.detach(), expected.detach()), bound);
    EXPECT_LE(relative(b.grad(), a.grad()), bound);
  }
}

TEST_F(CausalAttention, NothingLeaksBetweenPiecesOrBackInTime) {
  at::manual_seed(3);
  const std::vector<int64_t> starts = {0, 37, 80};
  const HeadCounts heads{4, 2, 8};
  at::Tensor x = at::randn({80, heads.columns()});
  const at::Tensor before = causal_attention(x, starts, heads);
  x[20].fill_(1e4);
  const at::Tensor after = causal_attention(x, starts, heads);
  EXPECT_TRUE(at::equal(before.slice(0, 0, 20), after.slice(0, 0, 20)));
  EXPECT_TRUE(at::equal(before.slice(0, 37), after.slice(0, 37)));
  EXPECT_FALSE(at::equal(before.slice(0, 20, 37), after.slice(0, 20, 37)));
}

TEST_F(CausalAttention, ThreadsShareTheHeads) {
  at::manual_seed(4);
  const std::vector<int64_t> starts = {0, 70, 100};
  const HeadCounts heads{6, 3, 8};
  const at::Tensor x = leaf(at::randn({100, heads.columns()}, at::kDouble)), y = leaf(x);
  const at::Tensor g = at::randn({100, 48}, at::kDouble);
  const at::Tensor one = causal_attention(x, starts, heads);
  one.backward(g);
  at::set_num_threads(3);
  const at::Tensor three = causal_attention(y, starts, heads);
  three.backward(g);
  EXPECT_LE(max_difference(three, one), 1e-14);
  EXPECT_LE(max_difference(y.grad(), x.grad()), 1e-13);
}

TEST_F(CausalAttention, TakesLargeScores) {
  const HeadCounts heads{1, 1, 4};
  at::Tensor x = at::zeros({3, heads.columns()});
  x.slice(1, 0, 8).fill_(300);  // equal scores of 180,000
  x.slice(1, 8) = at::arange(3).to(at::kFloat).unsqueeze(1);
  const at::Tensor y = causal_attention(x, {0, 3}, heads);
  EXPECT_LE(max_difference(y.select(1, 0), at::arange(3).to(at::kFloat) / 2), 1e-6);
}

}  // namespace
}  // namespace switchyard
