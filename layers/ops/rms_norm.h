// Root-mean-square normalisation (Zhang and Sennrich, "Root mean square layer normalization", 2019).
#pragma once

#include <ATen/core/Tensor.h>

#include "parallel/parameter/parameter.h"

namespace switchyard {

// y = x / √(mean(x²) + epsilon) · weight over the last dimension; statistics and products in accumulate_dtype, rounded
// once. x: [..., D] in bf16, fp32 or fp64; weight [D] of x's dtype. Local. The weight's gradient has the same bits
// whatever the number of threads.
at::Tensor rms_norm(const at::Tensor& x_TD, Parameter& weight_D, double epsilon);

// Kernels of the CPU. All tensors contiguous; inverse_T and weight_D in accumulate_dtype.
namespace rms_norm_kernel {
// Returns y; writes 1/√(…) of each row to inverse_T.
at::Tensor forward(const at::Tensor& x_TD, const at::Tensor& weight_D, double epsilon, at::Tensor& inverse_T);
// Returns dx; adds the weight's gradient to dweight_D.
at::Tensor backward(const at::Tensor& g_TD, const at::Tensor& x_TD, const at::Tensor& weight_D,
                    const at::Tensor& inverse_T, const at::Tensor& dweight_D);
}  // namespace rms_norm_kernel

}  // namespace switchyard
