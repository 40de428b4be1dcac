#include "layers/ops/rms_norm.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parallel/parameter/borrow.h"
#include "runtime/base/check.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x_TD, const at::Tensor& weight_D,
                            Parameter* weight, double epsilon) {
    const auto accumulate = accumulate_dtype(x_TD.scalar_type());
    const at::Tensor x = x_TD.contiguous();
    at::Tensor inverse_T = at::empty({x.numel() / x.size(-1)}, x.options().dtype(accumulate));
    at::Tensor y = rms_norm_kernel::forward(x, weight_D.to(accumulate), epsilon, inverse_T);
    ctx->save_for_backward({x, inverse_T});
    ctx->saved_data["weight"] = borrow(*weight);
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    auto& weight = borrowed<Parameter>(ctx->saved_data["weight"]);
    at::Tensor dx =
        rms_norm_kernel::backward(gradients[0].contiguous(), saved[0],
                                  weight.value().detach().to(saved[1].scalar_type()), saved[1], weight.gradient());
    weight.accumulated();
    return {dx, {}, {}, {}};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x_TD, Parameter& weight_D, double epsilon) {
  SY_CHECK_EQ(x_TD.size(-1), weight_D.value().numel());
  if (at::GradMode::is_enabled()) weight_D.recorded();
  return RmsNorm::apply(x_TD, weight_D.value(), &weight_D, epsilon);
}

}  // namespace switchyard
