#include "layers/ops/rope.h"

#include <gtest/gtest.h>

#include "tests/layers/ops/whole_parameter.h"

namespace switchyard {
namespace {

// Hugging Face's formulation: x·cos + rotate_half(x)·sin.
at::Tensor plain(const at::Tensor& x_TX, const at::Tensor& positions, int64_t heads, int64_t width, double theta) {
  const at::Tensor exponents = at::arange(0, width, 2, at::kDouble) / static_cast<double>(width);
  const at::Tensor angles = at::outer(positions.to(at::kDouble), at::pow(theta, -exponents));
  const at::Tensor full = at::cat({angles, angles}, 1).unsqueeze(1);
  const at::Tensor x = x_TX.narrow(1, 0, heads * width).view({-1, heads, width});
  const at::Tensor rotated = at::cat({-x.slice(2, width / 2), x.slice(2, 0, width / 2)}, 2);
  const at::Tensor turned = (x * full.cos() + rotated * full.sin()).reshape({x.size(0), heads * width});
  return at::cat({turned, x_TX.slice(1, heads * width)}, 1);
}

TEST(Rope, EqualsPlainAutograd) {
  at::manual_seed(1);
  for (const int64_t width : {2, 6, 16, 64}) {
    const int64_t heads = 3, columns = heads * width + 5;
    const at::Tensor positions = at::randint(0, 300, {17}, at::kLong);
    const at::Tensor x = at::randn({17, columns}, at::kDouble), g = at::randn({17, columns}, at::kDouble);
    const at::Tensor a = leaf(x), b = leaf(x);
    const at::Tensor expected = plain(a, positions, heads, width, 10000);
    const at::Tensor result = rope(b * 1, positions, heads, width, 10000);
    EXPECT_LE(max_difference(result, expected), 1e-13);
    const at::Tensor kept = g.clone();
    expected.backward(g);
    result.backward(g);
    EXPECT_LE(max_difference(b.grad(), a.grad()), 1e-13);
    EXPECT_TRUE(at::equal(g, kept));  // a gradient that others can see is not overwritten
  }
}

TEST(Rope, OverwritesItsArgumentAndRoundsBf16Once) {
  at::manual_seed(2);
  const at::Tensor positions = at::arange(40);
  at::Tensor x = at::randn({40, 4 * 16}).to(at::kBFloat16);
  const at::Tensor expected = plain(x.to(at::kDouble), positions, 4, 16, 500);
  const at::Tensor result = rope(x, positions, 4, 16, 500);
  EXPECT_EQ(result.data_ptr(), x.data_ptr());
  EXPECT_TRUE(close(result, expected, 0x1p-8 * 1.001, 1e-6));
}

TEST(Rope, TurnsAGradientOfItsOwnInPlace) {
  const at::Tensor x = leaf(at::randn({3, 8}));
  const at::Tensor result = rope(x + 0, at::arange(3), 2, 4, 100);
  const void* incoming = nullptr;
  result.register_hook([&](const at::Tensor& g) { incoming = g.data_ptr(); });
  (result * 2).sum().backward();
  EXPECT_EQ(x.grad().data_ptr(), incoming);
}

TEST(Rope, TakesNoRows) {
  const at::Tensor x = leaf(at::empty({0, 32}));
  rope(x * 1, at::empty({0}, at::kLong), 2, 16, 10000).sum().backward();
  EXPECT_EQ(x.grad().size(0), 0);
}

}  // namespace
}  // namespace switchyard
