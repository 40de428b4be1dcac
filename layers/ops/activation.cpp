#include "layers/ops/activation.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/ops/activation_cuda.h"
#include "layers/ops/activation_kernel.h"
#include "runtime/base/check.h"
#include "runtime/device/cuda.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void check_rows(const at::Tensor& tensor, int64_t rows, int64_t width, at::ScalarType dtype) {
  SY_CHECK_EQ(tensor.dim(), 2);
  SY_CHECK_EQ(tensor.size(0), rows);
  SY_CHECK_EQ(tensor.size(1), width);
  SY_CHECK_EQ(tensor.scalar_type(), dtype);
  SY_CHECK(width <= 1 || tensor.stride(1) == 1);
}

// The width of the output, once everything is checked to fit it.
int64_t checked_width(Activation activation, const at::Tensor& h_RP, const at::Tensor& out_RF) {
  SY_CHECK_EQ(h_RP.dim(), 2);
  SY_CHECK_EQ(out_RF.dim(), 2);
  const int64_t width = out_RF.size(1);
  check_rows(h_RP, out_RF.size(0), pre_activation_width(activation, width), out_RF.scalar_type());
  check_rows(out_RF, h_RP.size(0), width, h_RP.scalar_type());
  return width;
}

CudaRows cuda_rows(const at::Tensor& tensor) {
  return tensor.defined() ? CudaRows{tensor.data_ptr(), tensor.stride(0)} : CudaRows{nullptr, 0};
}

struct ActivateFunction : torch::autograd::Function<ActivateFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& h_RP, int64_t activation) {
    ctx->save_for_backward({h_RP});
    ctx->saved_data["activation"] = activation;
    const auto kind = static_cast<Activation>(activation);
    at::Tensor out_RF = at::empty({h_RP.size(0), h_RP.size(1) / pre_activation_width(kind, 1)}, h_RP.options());
    activation_forward(kind, h_RP, out_RF);
    return out_RF;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const at::Tensor h_RP = ctx->get_saved_variables()[0];
    const at::Tensor g_RF = gradients[0].contiguous();
    at::Tensor d_RP = at::empty_like(h_RP);
    activation_backward(static_cast<Activation>(ctx->saved_data["activation"].toInt()), h_RP, g_RF, d_RP, at::Tensor());
    return {d_RP, at::Tensor()};
  }
};

}  // namespace

Activation activation_from_name(std::string_view name) {
  if (name == "swiglu") return Activation::kSwiglu;
  if (name == "gelu") return Activation::kGelu;
  SY_CHECK_EQ(name, "relu");
  return Activation::kRelu;
}

int64_t pre_activation_width(Activation activation, int64_t width) {
  return activation == Activation::kSwiglu ? 2 * width : width;
}

void activation_forward(Activation activation, const at::Tensor& h_RP, at::Tensor out_RF) {
  const int64_t width = checked_width(activation, h_RP, out_RF);
  if (h_RP.is_cuda()) {
    activation_forward_cuda(activation, element_of(h_RP.scalar_type()), h_RP.size(0), width, cuda_rows(h_RP),
                            cuda_rows(out_RF), current_cuda_stream());
    return;
  }
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, h_RP.scalar_type(), "activation_forward", [&] {
    activation_forward_rows<scalar_t>(activation, h_RP.size(0), width, {h_RP.data_ptr<scalar_t>(), h_RP.stride(0)},
                                      {out_RF.data_ptr<scalar_t>(), out_RF.stride(0)});
  });
}

void activation_backward(Activation activation, const at::Tensor& h_RP, const at::Tensor& g_RF, at::Tensor d_RP,
                         at::Tensor out_RF) {
  const int64_t width = checked_width(activation, h_RP, g_RF);
  check_rows(d_RP, h_RP.size(0), h_RP.size(1), h_RP.scalar_type());
  if (out_RF.defined()) check_rows(out_RF, h_RP.size(0), width, h_RP.scalar_type());
  if (h_RP.is_cuda()) {
    activation_backward_cuda(activation, element_of(h_RP.scalar_type()), h_RP.size(0), width, cuda_rows(h_RP),
                             cuda_rows(g_RF), cuda_rows(d_RP), cuda_rows(out_RF), current_cuda_stream());
    return;
  }
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, h_RP.scalar_type(), "activation_backward", [&] {
    Rows<scalar_t> out{nullptr, 0};
    if (out_RF.defined()) out = {out_RF.data_ptr<scalar_t>(), out_RF.stride(0)};
    activation_backward_rows<scalar_t>(activation, h_RP.size(0), width, {h_RP.data_ptr<scalar_t>(), h_RP.stride(0)},
                                       {g_RF.data_ptr<scalar_t>(), g_RF.stride(0)},
                                       {d_RP.data_ptr<scalar_t>(), d_RP.stride(0)}, out);
  });
}

at::Tensor activate(Activation activation, const at::Tensor& h_RP) {
  return ActivateFunction::apply(h_RP, static_cast<int64_t>(activation));
}

}  // namespace switchyard
