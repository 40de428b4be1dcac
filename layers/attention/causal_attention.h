// Causal softmax attention within pieces of a batch, in blocks of queries (Dao et al., "FlashAttention", 2022, without
// its split of the keys): scores exist for one block at a time, and backward computes them again.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace switchyard {

struct HeadCounts {
  int64_t query;      // H
  int64_t key_value;  // KV, divides H: query head h reads key and value head h / (H/KV)
  int64_t width;      // C
  int64_t columns() const { return (query + 2 * key_value) * width; }
};

// qkv_TX: [T, (H+2·KV)·C] contiguous, heads of queries, then keys, then values; bf16, fp32 or fp64. → [T, H·C] in the
// same dtype: softmax(q·kᵀ/√C)·v over the keys of the same piece up to the query's own row. Scores, softmax and sums in
// accumulate_dtype. `piece_starts`: the first row of every piece, ascending from 0, then T. Local.
at::Tensor causal_attention(const at::Tensor& qkv_TX, const std::vector<int64_t>& piece_starts, HeadCounts heads);

// Kernels of the CPU. log_sums_HT, in accumulate_dtype: log Σ exp of every query's scores.
namespace causal_attention_kernel {
void forward(const at::Tensor& qkv_TX, const std::vector<int64_t>& piece_starts, HeadCounts heads,
             const at::Tensor& out_TY, const at::Tensor& log_sums_HT);
// Writes all of dqkv_TX.
void backward(const at::Tensor& g_TY, const at::Tensor& qkv_TX, const std::vector<int64_t>& piece_starts,
              HeadCounts heads, const at::Tensor& out_TY, const at::Tensor& log_sums_HT, const at::Tensor& dqkv_TX);
}  // namespace causal_attention_kernel

}  // namespace switchyard
