// Every operation on a device against the same one on the CPU: outputs, input gradients, weight gradients.
#include "tests/support/device.h"

#include <functional>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "layers/attention/causal_attention.h"
#include "layers/moe/router/gate.h"
#include "layers/moe/router/softmax_top_k.h"
#include "layers/ops/activation.h"
#include "layers/ops/cross_entropy.h"
#include "layers/ops/embedding.h"
#include "layers/ops/grouped_matmul.h"
#include "layers/ops/linear.h"
#include "layers/ops/matmul.h"
#include "layers/ops/rms_norm.h"
#include "layers/ops/rope.h"
#include "runtime/comm/loopback.h"
#include "runtime/numerics/precision.h"
#include "tests/layers/ops/whole_parameter.h"

namespace switchyard {
namespace {

constexpr at::ScalarType kDtypes[] = {at::kDouble, at::kFloat, at::kBFloat16};

// Of one run of an operation, in a fixed order.
using Results = std::vector<at::Tensor>;

// `run` with `options` naming first the CPU, then the device.
void expect_equal_on(c10::Device device, at::ScalarType dtype,
                     const std::function<Results(const at::TensorOptions&)>& run, double slack = 1) {
  const Results expected = run(at::TensorOptions(dtype));
  const Results actual = run(at::TensorOptions(dtype).device(device));
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(actual[i].scalar_type(), expected[i].scalar_type());
    EXPECT_LE(relative_difference(actual[i], expected[i]), slack * device_tolerance(dtype))
        << "result " << i << ", " << dtype;
  }
}

// The same values on every device.
at::Tensor random(std::vector<int64_t> shape, const at::TensorOptions& options, uint64_t seed) {
  at::manual_seed(seed);
  return at::randn(shape, at::kDouble).to(options);
}

at::Tensor random_below(int64_t limit, int64_t count, const at::TensorOptions& options, uint64_t seed) {
  at::manual_seed(seed);
  return at::randint(limit, {count}, at::kLong).to(options.device());
}

std::unique_ptr<Parameter> parameter(std::vector<int64_t> shape, const at::TensorOptions& options, uint64_t seed) {
  return whole_parameter(random(std::move(shape), options, seed));
}

// Output, the gradient of x, and the parameter's, of op(x, parameter).
Results with_weight(const at::Tensor& x, Parameter& weight,
                    const std::function<at::Tensor(const at::Tensor&, Parameter&)>& op) {
  const at::Tensor input = leaf(x);
  const at::Tensor y = op(input, weight);
  y.backward(random(y.sizes().vec(), y.options().requires_grad(false), 99));
  return {y, input.grad(), weight.gradient()};
}

TEST(OpsOnDevice, Linear) {
  SY_DEVICE_OR_SKIP();
  for (const at::ScalarType dtype : kDtypes) {
    expect_equal_on(device, dtype, [](const at::TensorOptions& o) {
      const auto weight = parameter({24, 40}, o, 1);
      return with_weight(random({37, 40}, o, 2), *weight, linear);
    });
  }
}

TEST(OpsOnDevice, Gate) {
  SY_DEVICE_OR_SKIP();
  for (const at::ScalarType dtype : kDtypes) {
    expect_equal_on(device, dtype, [](const at::TensorOptions& o) {
      const auto weight = parameter({7, 40}, o, 1);
      return with_weight(random({37, 40}, o, 2), *weight, gate);
    });
  }
}

TEST(OpsOnDevice, MatmulInEveryOrientation) {
  SY_DEVICE_OR_SKIP();
  for (const at::ScalarType dtype : kDtypes) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        expect_equal_on(device, dtype, [&](const at::TensorOptions& o) {
          const at::Tensor a = random(ta ? std::vector<int64_t>{20, 34} : std::vector<int64_t>{34, 20}, o, 3);
          const at::Tensor b = random(tb ? std::vector<int64_t>{50, 20} : std::vector<int64_t>{20, 50}, o, 4);
          const at::Tensor out = random({34, 50}, o, 5), wide = random({34, 50}, o.dtype(accumulate_dtype(dtype)), 6);
          const at::Tensor columns = random({34, 60}, o, 7);
          matmul(out, a, b, {.transpose_a = ta, .transpose_b = tb});
          matmul(wide, a, b, {.transpose_a = ta, .transpose_b = tb, .accumulate = true});
          matmul(columns.narrow(1, 4, 50), a, b, {.transpose_a = ta, .transpose_b = tb});
          return Results{out, wide, columns};
        });
      }
    }
  }
}

TEST(OpsOnDevice, GroupedProducts) {
  SY_DEVICE_OR_SKIP();
  const std::vector<int64_t> counts{5, 0, 17, 1, 40};
  for (const at::ScalarType dtype : kDtypes) {
    expect_equal_on(device, dtype, [&](const at::TensorOptions& o) {
      const at::Tensor x = random({63, 24}, o, 1), g = random({63, 16}, o, 2);
      const at::Tensor w = random({5, 16, 24}, o, 3), wt = random({5, 24, 16}, o, 4);
      const at::Tensor a = at::empty({63, 16}, o), b = at::empty({63, 16}, o);
      const at::Tensor dw = random({5, 16, 24}, o.dtype(accumulate_dtype(dtype)), 5);
      grouped_matmul(a, x, w, counts, true);
      grouped_matmul(b, x, wt, counts, false);
      grouped_weight_gradient(dw, g, x, counts);
      return Results{a, b, dw};
    });
  }
}

TEST(OpsOnDevice, Activations) {
  SY_DEVICE_OR_SKIP();
  for (const at::ScalarType dtype : kDtypes) {
    for (const Activation kind : {Activation::kSwiglu, Activation::kGelu, Activation::kRelu}) {
      expect_equal_on(device, dtype, [&](const at::TensorOptions& o) {
        const at::Tensor h = random({19, pre_activation_width(kind, 37)}, o, 1), g = random({19, 37}, o, 2);
        const at::Tensor value = at::empty({19, 37}, o), again = at::empty({19, 37}, o), d = at::empty_like(h);
        activation_forward(kind, h, value);
        activation_backward(kind, h, g, d, again);
        return Results{value, d, again};
      });
    }
  }
}

TEST(OpsOnDevice, RmsNorm) {
  SY_DEVICE_OR_SKIP();
  for (const at::ScalarType dtype : kDtypes) {
    for (const int64_t rows : {0, 1, 300}) {
      expect_equal_on(device, dtype, [&](const at::TensorOptions& o) {
        const auto weight = parameter({70}, o, 1);
        return with_weight(random({rows, 70}, o, 2), *weight,
                           [](const at::Tensor& x, Parameter& w) { return rms_norm(x, w, 1e-5); });
      });
    }
  }
}

TEST(OpsOnDevice, Rope) {
  SY_DEVICE_OR_SKIP();
  for (const at::ScalarType dtype : kDtypes) {
    expect_equal_on(device, dtype, [](const at::TensorOptions& o) {
      const at::Tensor x = leaf(random({50, 5 * 12}, o, 1));
      const at::Tensor y = rope(x * 1, random_below(5000, 50, o, 2), 4, 12, 10000);
      y.backward(random({50, 60}, o, 3));
      return Results{y, x.grad()};
    });
  }
}

TEST(OpsOnDevice, EmbeddingWithRepeatedTokens) {
  SY_DEVICE_OR_SKIP();
  for (const at::ScalarType dtype : kDtypes) {
    expect_equal_on(device, dtype, [](const at::TensorOptions& o) {
      const auto weight = parameter({11, 18}, o, 1);
      const at::Tensor tokens = random_below(20, 100, o, 2);  // the table holds 4 … 14
      const at::Tensor y = embedding(tokens, *weight, 4);
      y.backward(random({100, 18}, o, 3));
      return Results{y, weight->gradient()};
    });
  }
}

TEST(OpsOnDevice, CrossEntropy) {
  SY_DEVICE_OR_SKIP();
  constexpr int64_t kRows = kLossBlockRows + 5;
  Loopback alone(1);
  for (const at::ScalarType dtype : kDtypes) {
    expect_equal_on(device, dtype, [&](const at::TensorOptions& o) {
      Results results;
      for (const bool again : {false, true}) {
        const at::Tensor x = leaf(random({kRows, 301}, o, 1) * 4);
        const auto head = whole_parameter(at::eye(301, o));
        const at::Tensor targets = random_below(302, kRows, o, 2) - 1;
        const at::Tensor loss =
            linear_cross_entropy(x, *head, targets, {.scale = 1.0 / kRows, .recompute = again}, alone.rank(0));
        loss.backward();
        results.insert(results.end(), {loss, x.grad(), head->gradient()});
      }
      return results;
    });
  }
}

TEST(OpsOnDevice, SoftmaxTopK) {
  SY_DEVICE_OR_SKIP();
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    for (const auto& [experts, k] : {std::pair<int64_t, int64_t>{5, 2}, {64, 8}, {200, 3}}) {
      for (const bool renormalise : {false, true}) {
        expect_equal_on(
            device, dtype,
            [&](const at::TensorOptions& o) {
              at::Tensor logits = random({70, experts}, o, 1);
              logits.select(0, 3).zero_();  // ties go to the lower id
              const at::Tensor probabilities = at::softmax(logits, 1);
              const TopK chosen = softmax_top_k(logits, probabilities, k, renormalise);
              std::vector<double> common(experts);
              for (int64_t e = 0; e < experts; ++e) common[e] = 0.01 * static_cast<double>(e);
              const at::Tensor gradient =
                  softmax_top_k_backward(probabilities, chosen, renormalise, random({70 * k}, o, 2), common, 0.3);
              return Results{
                  chosen.experts_N,
                  chosen.weights_N,
                  chosen.log_sums_T,
                  at::tensor(chosen.slots),
                  at::tensor(chosen.probability_sums),
                  at::tensor(chosen.squared_log_sums),
                  at::tensor(chosen.entropies),
                  softmax_top_k(logits, probabilities, 1, renormalise, chosen.experts_N.narrow(0, 0, 70)).weights_N,
                  gradient};
            },
            5);
      }
    }
  }
}

TEST(OpsOnDevice, CausalAttentionOverPieces) {
  SY_DEVICE_OR_SKIP();
  for (const at::ScalarType dtype : kDtypes) {
    // Flash attention takes the first in bf16; a head of 4 is nothing for it.
    for (const HeadCounts heads : {HeadCounts{6, 3, 64}, HeadCounts{4, 4, 32}, HeadCounts{6, 2, 4}}) {
      for (const std::vector<int64_t>& pieces :
           {std::vector<int64_t>{0, 130}, std::vector<int64_t>{0, 1, 40, 41, 130}, std::vector<int64_t>{0, 130, 130}}) {
        expect_equal_on(
            device, dtype,
            [&](const at::TensorOptions& o) {
              const at::Tensor x = leaf(random({130, heads.columns()}, o, 1));
              const at::Tensor y = causal_attention(x, pieces, heads);
              y.backward(random(y.sizes().vec(), o, 2));
              return Results{y, x.grad()};
            },
            5);
      }
    }
  }
}

}  // namespace
}  // namespace switchyard
