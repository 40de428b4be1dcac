// Vocabulary-parallel embedding (Shoeybi et al., "Megatron-LM", 2019): every tensor rank holds the rows
// [vocab_begin, vocab_begin + V_local) of the table.
#pragma once

#include <ATen/core/Tensor.h>

#include "parallel/parameter/parameter.h"

namespace switchyard {

// tokens: int64 [T], all tokens of the data rank → [T,D] in the weight's dtype: the rows of the tokens that this rank
// owns, zeros for the others; the sum over the tensor group (reduce_scatter_rows) is the embedding. Local. Backward
// adds rows to the weight's gradient in token order, whatever the number of threads.
at::Tensor embedding(const at::Tensor& tokens_T, Parameter& weight_VD, int64_t vocab_begin);

// Kernels of the CPU.
namespace embedding_kernel {
at::Tensor forward(const at::Tensor& tokens_T, const at::Tensor& weight_VD, int64_t vocab_begin);
void backward(const at::Tensor& g_TD, const at::Tensor& tokens_T, int64_t vocab_begin, const at::Tensor& dweight_VD);
}  // namespace embedding_kernel

}  // namespace switchyard
