#include "layers/ops/linear.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

Slice whole(const std::string& name, std::vector<int64_t> shape) {
  return {{.name = name, .shape = shape, .box = Box::whole(shape), .replicated = {}, .partial = {}}};
}

struct Case {
  at::ScalarType dtype;
  double tolerance;  // relative to the largest element
};

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  if (expected.numel() == 0) return;
  const double scale = expected.abs().max().item<double>();
  EXPECT_LE((actual.to(at::kDouble) - expected).abs().max().item<double>(), tolerance * scale);
}

class Linear : public testing::TestWithParam<Case> {};

TEST_P(Linear, MatchesAutogradOfPlainOperations) {
  at::manual_seed(1);
  const auto [dtype, tolerance] = GetParam();
  for (const int64_t rows : {0, 1, 37}) {
    const at::Tensor x = at::randn({rows, 24}, at::kDouble).to(dtype).requires_grad_(true);
    Parameter weight({40, 24}, dtype, {whole("w", {40, 24})});
    {
      const at::NoGradGuard no_grad;
      weight.value().copy_(at::randn({40, 24}, at::kDouble));
    }
    attach_plain_gradients({&weight});
    weight.gradient().fill_(1.0);
    const at::Tensor g = at::randn({rows, 40}, at::kDouble).to(dtype);
    const at::Tensor y = linear(x, weight);
    y.backward(g);

    const at::Tensor x64 = x.detach().to(at::kDouble).requires_grad_(true);
    const at::Tensor w64 = weight.value().detach().to(at::kDouble).requires_grad_(true);
    const at::Tensor y64 = at::mm(x64, w64.t());
    y64.backward(g.to(at::kDouble));
    EXPECT_EQ(y.scalar_type(), dtype);
    EXPECT_FALSE(weight.value().grad().defined());
    expect_close(y.detach(), y64.detach(), tolerance);
    expect_close(x.grad(), x64.grad(), tolerance);
    expect_close(weight.gradient(), w64.grad() + 1.0, dtype == at::kDouble ? tolerance : 1e-6);
  }
}

// bf16 rounds the outputs once, 2^-8; its weight gradient stays in fp32.
INSTANTIATE_TEST_SUITE_P(Dtypes, Linear,
                         testing::Values(Case{at::kBFloat16, 4e-3}, Case{at::kFloat, 1e-6}, Case{at::kDouble, 1e-14}));

TEST(Linear, ReportsOnceAllUsesAreDone) {
  Parameter weight({3, 2}, at::kFloat, {whole("w", {3, 2})});
  int ready = 0;
  weight.attach(at::zeros({3, 2}), [&](Parameter&) { ++ready; });
  const at::Tensor first = linear(at::ones({4, 2}), weight), second = linear(at::ones({1, 2}), weight);
  {
    const at::NoGradGuard no_grad;
    linear(at::ones({4, 2}), weight);
  }
  second.sum().backward();
  EXPECT_EQ(ready, 0);
  first.sum().backward();
  EXPECT_EQ(ready, 1);
  EXPECT_TRUE(at::equal(weight.gradient(), at::full({3, 2}, 5.0f)));
}

}  // namespace
}  // namespace switchyard
