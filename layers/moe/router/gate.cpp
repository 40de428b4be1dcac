#include "layers/moe/router/gate.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/ops/matmul.h"
#include "parallel/parameter/borrow.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The terms whose sum stands for g in products with tensors of `dtype`. Two bf16 terms keep 16 bits of an fp32 gradient
// and spare an fp32 copy of x.
std::vector<at::Tensor> terms(const at::Tensor& g_TE, at::ScalarType dtype) {
  if (g_TE.scalar_type() == dtype) return {g_TE};
  const at::Tensor high = g_TE.to(dtype);
  return {high, (g_TE - high).to(dtype)};
}

struct GateFunction : torch::autograd::Function<GateFunction> {
  // `value` is weight->value(): an input only so that the product is recorded when x needs no gradient.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_TD, const at::Tensor& value,
                            Parameter* weight) {
    context->save_for_backward({x_TD});
    context->saved_data["weight"] = borrow(*weight);
    at::Tensor logits_TE =
        at::empty({x_TD.size(0), value.size(0)}, x_TD.options().dtype(accumulate_dtype(x_TD.scalar_type())));
    matmul(logits_TE, x_TD, value, {.transpose_b = true});
    return logits_TE;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    Parameter& weight = borrowed<Parameter>(context->saved_data["weight"]);
    const at::Tensor x_TD = context->get_saved_variables()[0];
    // Side by side: one pass over x serves all terms, and dx is summed over them before it is rounded.
    const std::vector<at::Tensor> g = terms(gradients[0].contiguous(), x_TD.scalar_type());
    const at::Tensor g_TN = at::cat(g, 1);
    if (g.size() == 1) {
      matmul(weight.gradient(), g_TN, x_TD, {.transpose_a = true, .accumulate = true});
    } else {
      const at::Tensor d_ND = at::empty({g_TN.size(1), x_TD.size(1)}, weight.gradient().options());
      matmul(d_ND, g_TN, x_TD, {.transpose_a = true});
      for (const at::Tensor& term_ED : d_ND.chunk(static_cast<int64_t>(g.size()))) weight.gradient().add_(term_ED);
    }
    weight.accumulated();
    at::Tensor d_TD;
    if (context->needs_input_grad(0)) {
      const std::vector<at::Tensor> w(g.size(), weight.value().detach());
      d_TD = at::empty(x_TD.sizes(), x_TD.options());
      matmul(d_TD, g_TN, at::cat(w, 0));
    }
    return {d_TD, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor gate(const at::Tensor& x_TD, Parameter& weight_ED) {
  if (at::GradMode::is_enabled()) weight_ED.recorded();
  return GateFunction::apply(x_TD, weight_ED.value(), &weight_ED);
}

}  // namespace switchyard
