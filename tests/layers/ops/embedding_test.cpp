#include "layers/ops/embedding.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "parallel/topology/box.h"
#include "tests/layers/ops/whole_parameter.h"

namespace switchyard {
namespace {

TEST(Embedding, SlicesOfTheVocabularySumToTheWhole) {
  at::manual_seed(1);
  const int64_t vocab = 11, width = 7;
  const at::Tensor table = at::randn({vocab, width}, at::kDouble);
  const at::Tensor tokens = at::randint(0, vocab, {40}, at::kLong), g = at::randn({40, width}, at::kDouble);
  const at::Tensor whole = leaf(table);
  const at::Tensor expected = at::embedding(whole, tokens);
  expected.backward(g);
  for (const int parts : {1, 3, 4, 13}) {
    at::Tensor total = at::zeros_like(g), gradient = at::zeros_like(table);
    for (int part = 0; part < parts; ++part) {
      const auto [begin, end] = cut(vocab, parts, part);
      const auto weight = whole_parameter(table.slice(0, begin, end));
      const at::Tensor rows = embedding(tokens, *weight, begin);
      rows.backward(g);
      total += rows.detach();
      gradient.slice(0, begin, end) += weight->gradient();
    }
    EXPECT_TRUE(at::equal(total, expected.detach())) << parts;
    EXPECT_LE(max_difference(gradient, whole.grad()), 1e-13) << parts;
  }
}

TEST(Embedding, SumsBf16InFp32AlikeOnAnyNumberOfThreads) {
  at::manual_seed(2);
  const at::Tensor tokens = at::randint(0, 3, {5000}, at::kLong), g = at::randn({5000, 300}).to(at::kBFloat16);
  const int threads = at::get_num_threads();
  std::vector<at::Tensor> gradients;
  for (const int n : {1, 3}) {
    at::set_num_threads(n);
    const auto weight = whole_parameter(at::randn({3, 300}).to(at::kBFloat16));
    embedding(tokens, *weight, 0).backward(g);
    gradients.push_back(weight->gradient());
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(gradients[0], gradients[1]));
  const at::Tensor exact = at::zeros({3, 300}, at::kDouble).index_add_(0, tokens, g.to(at::kDouble));
  EXPECT_LE(max_difference(gradients[0], exact), 1e-3);  // 1,700 terms of order 1 in fp32; bf16 sums miss by 0.1
}

TEST(Embedding, TakesNoTokens) {
  const auto weight = whole_parameter(at::randn({3, 4}));
  const at::Tensor rows = embedding(at::empty({0}, at::kLong), *weight, 0);
  EXPECT_EQ(rows.sizes(), (std::vector<int64_t>{0, 4}));
  rows.sum().backward();
  EXPECT_EQ(weight->gradient().abs().sum().item<float>(), 0);
}

}  // namespace
}  // namespace switchyard
