#include "layers/ops/rms_norm.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "tests/layers/ops/whole_parameter.h"

namespace switchyard {
namespace {

constexpr double kEpsilon = 1e-5;

struct Result {
  at::Tensor y, dx, dweight;
};

Result plain(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& g) {
  const at::Tensor xl = leaf(x.to(at::kDouble)), wl = leaf(weight.to(at::kDouble));
  const at::Tensor y = xl * (xl.square().mean(-1, true) + kEpsilon).rsqrt() * wl;
  y.backward(g.to(at::kDouble));
  return {y.detach(), xl.grad(), wl.grad()};
}

Result ours(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& g) {
  const auto parameter = whole_parameter(weight);
  const at::Tensor xl = leaf(x);
  const at::Tensor y = rms_norm(xl, *parameter, kEpsilon);
  y.backward(g);
  return {y.detach(), xl.grad(), parameter->gradient()};
}

TEST(RmsNorm, EqualsPlainAutograd) {
  at::manual_seed(1);
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{5, 64}, {3, 37}, {2, 3, 4, 16}, {1, 1}, {300, 33}, {0, 64}}) {
    const at::Tensor x = at::randn(shape, at::kDouble) * 3, g = at::randn(shape, at::kDouble);
    const at::Tensor weight = at::randn({shape.back()}, at::kDouble);
    const Result expected = plain(x, weight, g), result = ours(x, weight, g);
    EXPECT_LE(max_difference(result.y, expected.y), 1e-12);
    EXPECT_LE(max_difference(result.dx, expected.dx), 1e-12);
    EXPECT_LE(max_difference(result.dweight, expected.dweight), 1e-12);
  }
}

TEST(RmsNorm, RoundsBf16Once) {
  at::manual_seed(2);
  const at::Tensor x = at::randn({70, 51}).to(at::kBFloat16), g = at::randn({70, 51}).to(at::kBFloat16);
  const at::Tensor weight = at::randn({51}).to(at::kBFloat16);
  const Result expected = plain(x, weight, g), result = ours(x, weight, g);
  EXPECT_EQ(result.y.scalar_type(), at::kBFloat16);
  EXPECT_EQ(result.dweight.scalar_type(), at::kFloat);
  // Half a unit of bf16's last place, and fp32's own error where terms cancel.
  EXPECT_TRUE(close(result.y, expected.y, 0x1p-8 * 1.001, 1e-6));
  EXPECT_TRUE(close(result.dx, expected.dx, 0x1p-8 * 1.001, 1e-5));
  EXPECT_TRUE(close(result.dweight, expected.dweight, 0, 1e-4));
}

TEST(RmsNorm, AddsToTheGradientAndKeepsItsBitsOnAnyNumberOfThreads) {
  at::manual_seed(3);
  const at::Tensor x = at::randn({1000, 40}), g = at::randn({1000, 40}), weight = at::randn({40});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Result one = ours(x, weight, g);
  at::set_num_threads(3);
  const Result three = ours(x, weight, g);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(one.dweight, three.dweight));
  EXPECT_TRUE(at::equal(one.dx, three.dx));

  const auto parameter = whole_parameter(weight);
  for (int use = 0; use < 2; ++use) rms_norm(leaf(x), *parameter, kEpsilon).backward(g);
  EXPECT_LE(max_difference(parameter->gradient(), 2 * one.dweight), 1e-4);
}

TEST(RmsNorm, RecordsItsUseOnlyWithGradients) {
  const auto parameter = whole_parameter(at::ones({8}));
  int ready = 0;
  parameter->attach(at::zeros({8}), [&](Parameter&) { ++ready; });
  {
    const at::NoGradGuard no_grad;
    rms_norm(at::ones({2, 8}), *parameter, kEpsilon);
  }
  const at::Tensor y = rms_norm(at::ones({2, 8}), *parameter, kEpsilon);  // the weight alone asks for a gradient
  y.backward(at::ones({2, 8}));
  EXPECT_EQ(ready, 1);
  EXPECT_FALSE(parameter->value().grad().defined());
}

}  // namespace
}  // namespace switchyard
