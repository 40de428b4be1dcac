#include "layers/ops/activation.h"

#include <limits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

constexpr Activation kAll[] = {Activation::kSwiglu, Activation::kGelu, Activation::kRelu};

at::Tensor reference(Activation activation, const at::Tensor& h) {
  switch (activation) {
    case Activation::kSwiglu: {
      const auto halves = h.chunk(2, 1);
      return at::silu(halves[0]) * halves[1];
    }
    case Activation::kGelu:
      return at::gelu(h);
    case Activation::kRelu:
      break;
  }
  return at::relu(h);
}

struct Case {
  at::ScalarType dtype;
  double tolerance;  // against fp64, per element: tolerance · (1 + |expected|)
};

class Activations : public testing::TestWithParam<Case> {};

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  const at::Tensor error = (actual.to(at::kDouble) - expected).abs() / (expected.abs() + 1.0);
  EXPECT_LE(error.max().item<double>(), tolerance);
}

TEST_P(Activations, MatchAutogradOfPlainOperations) {
  at::manual_seed(1);
  const auto [dtype, tolerance] = GetParam();
  for (const Activation activation : kAll) {
    for (const int64_t width : {1, 15, 16, 33, 64}) {
      const at::Tensor h = (at::randn({9, pre_activation_width(activation, width)}, at::kDouble) * 4).to(dtype);
      const at::Tensor g = at::randn({9, width}, at::kDouble).to(dtype);
      const at::Tensor leaf = h.clone().requires_grad_(true);
      const at::Tensor out = activate(activation, leaf);
      out.backward(g);

      const at::Tensor h64 = h.to(at::kDouble).requires_grad_(true);
      const at::Tensor out64 = reference(activation, h64);
      out64.backward(g.to(at::kDouble));
      expect_close(out.detach(), out64.detach(), tolerance);
      expect_close(leaf.grad(), h64.grad(), tolerance);

      // The fused pass: in place, and the recomputed value has the forward's bits.
      at::Tensor d = h.clone(), again = g.clone();
      activation_backward(activation, d, again, d, again);
      EXPECT_TRUE(at::equal(d, leaf.grad()));
      EXPECT_TRUE(at::equal(again, out.detach()));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, Activations,
                         testing::Values(Case{at::kBFloat16, 4e-3}, Case{at::kFloat, 2e-6}, Case{at::kDouble, 1e-14}));

TEST(Activation, ExtremesStayExactOrBecomeNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor gate = at::tensor({-1e30f, -200.0f, -90.0f, 0.0f, 90.0f, 200.0f, 1e30f, infinity, nan}).unsqueeze(1);
  at::Tensor out = at::empty({9, 1});
  activation_forward(Activation::kSwiglu, at::cat({gate, at::ones({9, 1})}, 1), out);
  const float* y = out.const_data_ptr<float>();
  EXPECT_NEAR(y[1], 0.0f, 1e-30f);
  EXPECT_NEAR(y[2], 0.0f, 1e-30f);
  EXPECT_EQ(y[3], 0.0f);
  EXPECT_EQ(y[4], 90.0f);
  EXPECT_EQ(y[5], 200.0f);
  EXPECT_EQ(y[6], 1e30f);
  EXPECT_EQ(y[7], infinity);
  EXPECT_NE(y[8], y[8]);
  for (const Activation activation : {Activation::kGelu, Activation::kRelu}) {
    activation_forward(activation, gate, out);
    EXPECT_EQ(y[1], 0.0f);
    EXPECT_EQ(y[5], 200.0f);
    EXPECT_NE(y[8], y[8]);
  }
}

TEST(Activation, BitsDependOnTheValueAlone) {
  at::manual_seed(2);
  const int before = at::get_num_threads();
  for (const at::ScalarType dtype : {at::kBFloat16, at::kFloat, at::kDouble}) {
    for (const Activation activation : kAll) {
      const int64_t half = 2500;
      const at::Tensor wide = at::randn({64, pre_activation_width(activation, half)}, at::kDouble).to(dtype);
      at::Tensor whole = at::empty({64, half}, dtype);
      at::set_num_threads(2);
      activation_forward(activation, wide, whole);
      at::set_num_threads(1);
      // Columns 7 … 20 alone: other lanes, another tail.
      at::Tensor part = wide.narrow(1, 7, 14);
      if (activation == Activation::kSwiglu) part = at::cat({part, wide.narrow(1, half + 7, 14)}, 1);
      at::Tensor narrow = at::empty({64, 14}, dtype);
      activation_forward(activation, part, narrow);
      EXPECT_TRUE(at::equal(narrow, whole.narrow(1, 7, 14)));
    }
  }
  at::set_num_threads(before);
}

TEST(Activation, NamesAreThoseOfConfigs) {
  EXPECT_EQ(activation_from_name("swiglu"), Activation::kSwiglu);
  EXPECT_EQ(activation_from_name("gelu"), Activation::kGelu);
  EXPECT_EQ(activation_from_name("relu"), Activation::kRelu);
  EXPECT_THROW(activation_from_name("tanh"), CheckError);
}

}  // namespace
}  // namespace switchyard
