#include "layers/ops/linear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/ops/matmul.h"
#include "parallel/parameter/borrow.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  // `value` is weight->value(): an input only so that the product is recorded when x needs no gradient.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_TI, const at::Tensor& value, Parameter* weight) {
    ctx->save_for_backward({x_TI});
    ctx->saved_data["weight"] = borrow(*weight);
    at::Tensor y_TO = at::empty({x_TI.size(0), value.size(0)}, x_TI.options());
    matmul(y_TO, x_TI, value, {.transpose_b = true});
    return y_TO;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    Parameter& weight = borrowed<Parameter>(ctx->saved_data["weight"]);
    const at::Tensor x_TI = ctx->get_saved_variables()[0];
    const at::Tensor g_TO = gradients[0].contiguous();
    // The weight first: its reduction may start while dx is computed.
    const Parameter::Sum sum = weight.next_sum();
    matmul(sum.tensor, g_TO, x_TI, {.transpose_a = true, .accumulate = sum.add});
    weight.accumulated();
    at::Tensor d_TI;
    if (ctx->needs_input_grad(0)) {
      d_TI = at::empty({x_TI.size(0), x_TI.size(1)}, x_TI.options());
      matmul(d_TI, g_TO, weight.value());
    }
    return {d_TI, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x_TI, Parameter& weight_OI) {
  if (at::GradMode::is_enabled()) weight_OI.recorded();
  return LinearFunction::apply(x_TI, weight_OI.value(), &weight_OI);
}

}  // namespace switchyard
