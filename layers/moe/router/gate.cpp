#include "layers/moe/router/gate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/ops/matmul.h"
#include "parallel/parameter/borrow.h"
#include "runtime/numerics/lanes.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kGrain = 256;  // rows

// g = high + low to 16 bits, both bf16: rows of `high` and `low` begin `stride` apart.
template <typename L>
SY_KERNEL void split(const float* g, int64_t rows, int64_t width, int64_t stride, c10::BFloat16* high,
                     c10::BFloat16* low) {
  L whole, rounded;
  for (int64_t t = 0; t < rows; ++t, g += width, high += stride, low += stride) {
    for (int64_t e = 0; e < width; e += kLanes<L>) {
      load_some(g + e, width - e, whole);
      store_some(high + e, width - e, whole);
      load_some(high + e, width - e, rounded);
      store_some(low + e, width - e, L(whole - rounded));
    }
  }
}

// The gradients side by side for products with tensors of `dtype`: [T,N], N columns in all, or, where they are fp32
// and `dtype` is bf16, [T,2N]: two terms whose sum they are, which spares an fp32 copy of x.
at::Tensor side_by_side(const variable_list& gradients, at::ScalarType dtype) {
  const at::Tensor g_TN = gradients.size() == 1 ? gradients[0].contiguous() : at::cat(gradients, 1);
  if (g_TN.scalar_type() == dtype) return g_TN;
  const int64_t tokens = g_TN.size(0), width = g_TN.size(1);
  if (!g_TN.is_cpu()) {
    const at::Tensor high_TN = g_TN.to(dtype);
    return at::cat({high_TN, (g_TN - high_TN).to(dtype)}, 1);
  }
  at::Tensor terms_TN = at::empty({tokens, 2 * width}, g_TN.options().dtype(dtype));
  const float* g = g_TN.const_data_ptr<float>();
  auto* terms = terms_TN.mutable_data_ptr<c10::BFloat16>();
  at::parallel_for(0, tokens, kGrain, [&](int64_t begin, int64_t end) {
    with_wide_registers([&](auto registers) __attribute__((always_inline)) {
      c10::BFloat16* row = terms + begin * 2 * width;
      split<Lanes<float, decltype(registers)>>(g + begin * width, end - begin, width, 2 * width, row, row + width);
    });
  });
  return terms_TN;
}

struct GateFunction : torch::autograd::Function<GateFunction> {
  // `value` is the first weight's: an input only so that the products are recorded when x needs no gradient.
  static variable_list forward(AutogradContext* context, const at::Tensor& x_TD, const at::Tensor& /*value*/,
                               const ParameterList& weights) {
    context->save_for_backward({x_TD});
    c10::List<c10::IValue> borrowed_weights(c10::AnyType::get());
    variable_list logits;
    for (Parameter* weight : weights) {
      borrowed_weights.push_back(borrow(*weight));
      logits.push_back(at::empty({x_TD.size(0), weight->value().size(0)},
                                 x_TD.options().dtype(accumulate_dtype(x_TD.scalar_type()))));
      matmul(logits.back(), x_TD, weight->value(), {.transpose_b = true});
    }
    context->saved_data["weights"] = borrowed_weights;
    return logits;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    ParameterList weights;
    for (const c10::IValue& weight : context->saved_data["weights"].toListRef()) {
      weights.push_back(&borrowed<Parameter>(weight));
    }
    const at::Tensor x_TD = context->get_saved_variables()[0];
    const at::Tensor g_TN = side_by_side(gradients, x_TD.scalar_type());
    std::vector<at::Tensor> values;
    for (Parameter* weight : weights) values.push_back(weight->value().detach());
    const at::Tensor w_ND = values.size() == 1 ? values[0] : at::cat(values, 0);

    if (weights.size() == 1 && g_TN.size(1) == w_ND.size(0)) {
      matmul(weights[0]->gradient(), g_TN, x_TD, {.transpose_a = true, .accumulate = true});
    } else {
      at::Tensor d_ND = at::empty({g_TN.size(1), x_TD.size(1)}, weights[0]->gradient().options());
      matmul(d_ND, g_TN, x_TD, {.transpose_a = true});
      for (int64_t row = 0; row < d_ND.size(0); row += w_ND.size(0)) {
        int64_t of_weight = row;
        for (Parameter* weight : weights) {
          const int64_t experts = weight->value().size(0);
          weight->gradient().add_(d_ND.narrow(0, of_weight, experts));
          of_weight += experts;
        }
      }
    }
    for (Parameter* weight : weights) weight->accumulated();
    at::Tensor d_TD;
    if (context->needs_input_grad(0)) {
      d_TD = at::empty(x_TD.sizes(), x_TD.options());
      matmul(d_TD, g_TN.narrow(1, 0, w_ND.size(0)), w_ND);
    }
    return {d_TD, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

std::vector<at::Tensor> gates(const at::Tensor& x_TD, const ParameterList& weights_ED) {
  if (at::GradMode::is_enabled()) {
    for (Parameter* weight : weights_ED) weight->recorded();
  }
  return GateFunction::apply(x_TD, weights_ED.front()->value(), weights_ED);
}

at::Tensor gate(const at::Tensor& x_TD, Parameter& weight_ED) {
  return gates(x_TD, {&weight_ED})[0];
}

}  // namespace switchyard
