// Vocabulary-parallel cross-entropy (Shoeybi et al., "Megatron-LM", 2019): every rank of `tensor` holds the logits of
// the same T tokens over its own slice of the vocabulary. Only vectors of T numbers travel, and no second [T,V] tensor
// is made.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "runtime/comm/communicator.h"

namespace switchyard {

// → scalar in accumulate_dtype: scale · Σ (log Σ_v exp(logit_v) − logit_target) over the rows of this rank's share
// cut(T, tensor ranks, rank), so that the sum over the group is the loss of all T tokens, each once. Rows with target
// −1 count nothing.
// The objective is the sum of local losses over all ranks, all weighed alike: backward takes its incoming gradient g,
// equal on every rank of the group, as that common weight and gives every rank the full gradient of all T rows of its
// slice, g·scale·(softmax − [v = target]).
// logits_TV: [T, V_local], bf16, fp32 or fp64, contiguous; V_local may be 0 on some ranks. It is taken over: backward
// writes its result into it, so it must be the result of an operation that does not keep its output (a product), not
// be read after backward, and backward may run only once. targets: int64 [T], global ids.
// Collective over `tensor` in forward; backward is local. Throws StatusError.
at::Tensor cross_entropy(at::Tensor logits_TV, const at::Tensor& targets_T, int64_t vocab_begin, double scale,
                         Communicator& tensor);

// Kernels of the CPU. Vectors of T in accumulate_dtype; rows with target −1 are skipped.
namespace cross_entropy_kernel {
// Per row: the largest logit, and the sum of exp(logit − that). (−∞, 0) without vocabulary, (0, 1) where skipped.
void reduce_rows(const at::Tensor& logits_TV, const at::Tensor& targets_T, const at::Tensor& max_T,
                 const at::Tensor& sum_T);
// The target's logit where this rank holds it, else 0.
void pick_targets(const at::Tensor& logits_TV, const at::Tensor& targets_T, int64_t vocab_begin,
                  const at::Tensor& target_T);
// logits ← factor · (exp(logit − max) / sum − [v = target]); zeros where skipped.
void to_gradient(const at::Tensor& logits_TV, const at::Tensor& targets_T, int64_t vocab_begin, const at::Tensor& max_T,
                 const at::Tensor& sum_T, double factor);
}  // namespace cross_entropy_kernel

}  // namespace switchyard
