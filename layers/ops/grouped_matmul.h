// The products of a ragged group: rows of x, grouped, each group with a matrix of its own. On a device small groups go
// in one call where cuBLAS can, so that they do not wait for each other's launches.
#pragma once

#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

namespace switchyard {

// work(group, first row, rows) for each group that has rows.
template <typename Work>
void for_each_group(std::span<const int64_t> counts, const Work& work) {
  int64_t first = 0;
  for (size_t e = 0; e < counts.size(); ++e) {
    if (counts[e] > 0) work(static_cast<int64_t>(e), first, counts[e]);
    first += counts[e];
  }
}

// out_RN: rows of group e = rows of x_RK · w_EXX[e], or its transpose. counts: rows of each group; they sum to R.
// Tensors are contiguous, of one dtype: bf16, fp32 or fp64.
void grouped_matmul(at::Tensor out_RN, const at::Tensor& x_RK, const at::Tensor& w_EXX, std::span<const int64_t> counts,
                    bool transpose_w);

// dw_EMN[e] += g_RM rows of e, transposed · x_RN rows of e; groups without rows add nothing. dw is fp32 for bf16.
void grouped_weight_gradient(at::Tensor dw_EMN, const at::Tensor& g_RM, const at::Tensor& x_RN,
                             std::span<const int64_t> counts);

}  // namespace switchyard
