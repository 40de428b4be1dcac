// The output head with its vocabulary-parallel cross-entropy (Shoeybi et al., "Megatron-LM", 2019): every rank of
// `tensor` has the same T tokens and the weights of its own slice of the vocabulary. Only vectors of T numbers travel.
// Logits are made, and where they are not kept made again, for some rows at a time, as in Hsu et al., "Liger kernel",
// 2024, and Wijmans et al., "Cut your losses in large-vocabulary language models", 2024.
#pragma once

#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>

#include "parallel/parameter/parameter.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

constexpr int64_t kLossBlockRows = 1024;  // a block's products read the whole weight

struct CrossEntropyOptions {
  int64_t vocab_begin = 0;  // global id of the weight's first row
  double scale = 1;
  // Backward makes the logits again, one product more: no more than kLossBlockRows rows of them exist at a time, and
  // the weight's gradient is summed block by block. Else all are kept from forward to backward, in x's dtype. Without
  // grad mode none are kept anyhow.
  bool recompute = false;
  // Sees the logits of all rows in turn, some rows t from first_row on at a time; they are gone when it returns.
  std::function<void(const at::Tensor& logits_tV, int64_t first_row)> observer = nullptr;
};

// → scalar in accumulate_dtype: scale · Σ (log Σ_v exp(logit_v) − logit_target), logits = x·Wᵀ in x's dtype, over the
// rows of this rank's share cut(T, tensor ranks, rank), so that the sum over the group is the loss of all T tokens,
// each once. Rows with target −1 count nothing. The objective is the sum of local losses over all ranks, all weighed
// alike: backward, which may run once, takes its incoming gradient g, equal on every rank of the group, as that common
// weight, and goes on from the full gradient of all T rows of a rank's slice, g·scale·(softmax − [v = target]), rounded
// to x's dtype: it gives x's, of which every rank has its slice's part, and adds the weight's to the weight's
// (next_sum) and reports it. x_TD: [T,D], bf16, fp32 or fp64, contiguous; weight_VD: [V_local,D], V_local may be 0 on
// some ranks; it outlives the backward. targets: int64 [T], global ids. Collective over `tensor` in forward; backward
// is local. Throws StatusError.
at::Tensor linear_cross_entropy(const at::Tensor& x_TD, Parameter& weight_VD, const at::Tensor& targets_T,
                                const CrossEntropyOptions& options, Communicator& tensor);

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
