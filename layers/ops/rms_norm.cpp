#include "layers/ops/rms_norm.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/ops/rms_norm_cuda.h"
#include "parallel/parameter/borrow.h"
#include "runtime/base/check.h"
#include "runtime/device/cuda.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

at::Tensor normalise(const at::Tensor& x_TD, const at::Tensor& weight_D, double epsilon, at::Tensor& inverse_T) {
  if (!x_TD.is_cuda()) return rms_norm_kernel::forward(x_TD, weight_D, epsilon, inverse_T);
  at::Tensor y_TD = at::empty_like(x_TD);
  rms_norm_forward_cuda(element_of(x_TD.scalar_type()), inverse_T.numel(), weight_D.numel(), epsilon, x_TD.data_ptr(),
                        weight_D.data_ptr(), y_TD.data_ptr(), inverse_T.data_ptr(), current_cuda_stream());
  return y_TD;
}

at::Tensor differentiate(const at::Tensor& g_TD, const at::Tensor& x_TD, const at::Tensor& weight_D,
                         const at::Tensor& inverse_T, const at::Tensor& dweight_D) {
  if (!x_TD.is_cuda()) return rms_norm_kernel::backward(g_TD, x_TD, weight_D, inverse_T, dweight_D);
  const int64_t rows = inverse_T.numel(), width = weight_D.numel();
  at::Tensor dx_TD = at::empty_like(x_TD);
  const at::Tensor parts_ND = at::empty({rms_norm_parts(rows), width}, weight_D.options());
  rms_norm_backward_cuda(element_of(x_TD.scalar_type()), rows, width, g_TD.data_ptr(), x_TD.data_ptr(),
                         weight_D.data_ptr(), inverse_T.data_ptr(), dx_TD.data_ptr(), parts_ND.data_ptr(),
                         dweight_D.data_ptr(), current_cuda_stream());
  return dx_TD;
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x_TD, const at::Tensor& weight_D,
                            Parameter* weight, double epsilon) {
    const auto accumulate = accumulate_dtype(x_TD.scalar_type());
    const at::Tensor x = x_TD.contiguous();
    at::Tensor inverse_T = at::empty({x.numel() / x.size(-1)}, x.options().dtype(accumulate));
    at::Tensor y = normalise(x, weight_D.to(accumulate), epsilon, inverse_T);
    ctx->save_for_backward({x, inverse_T});
    ctx->saved_data["weight"] = borrow(*weight);
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    auto& weight = borrowed<Parameter>(ctx->saved_data["weight"]);
    at::Tensor dx = differentiate(gradients[0].contiguous(), saved[0],
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
