// Products of bf16 where neither the processor nor a library has fast ones: before AVX-512.
#pragma once

#include <ATen/core/Tensor.h>

#include "layers/ops/matmul.h"

namespace switchyard {

// As matmul, of bf16 operands on the host: by products in fp32 of operands that are widened part by part, with results
// rounded once. ATen's own bf16 products take several times as long there.
void widened_product(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b, const MatmulOptions& options);

}  // namespace switchyard
