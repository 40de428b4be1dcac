// Every matrix product of the model: on CPU by AMX tiles where the processor has them and they are faster, else by
// oneDNN where it is present and fast, else by ATen; bf16 ones without AVX-512 in fp32; on a device by cuBLAS.
#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

struct MatmulOptions {
  bool transpose_a = false;
  bool transpose_b = false;
  bool accumulate = false;  // out += instead of out =
  bool passing = false;     // out is not read again soon: on CPU it may go past the caches
};

// out [M,N] = op(a)·op(b), a [M,K] or transposed [K,M], b [K,N] or transposed [N,K]. Any size may be 0: without inner
// dimension the product is 0. All are row-major with contiguous rows whose stride may exceed the width (views of
// columns, one expert's rows). dtypes: bf16, fp32 or fp64, a and b alike; out has theirs, or fp32 for bf16 operands.
// Sums run in fp32 (fp64) and are rounded once. `out` overlaps neither operand. Nothing is recorded for autograd.
// The same shapes, strides, number of threads and machine give the same bits wherever operands aligned to 64 bytes lie.
void matmul(at::Tensor out, const at::Tensor& a, const at::Tensor& b, const MatmulOptions& options = {});

}  // namespace switchyard
