// Causal attention on a device: LibTorch's flash attention (Dao, "FlashAttention-2", 2023) over all pieces at once in
// bf16, where it takes the head's width, and piece by piece through plain products elsewhere.
#pragma once

#include "layers/attention/causal_attention.h"

namespace switchyard::causal_attention_on_device {

// Writes all of out_TY and log_sums_HT. `state`: for backward; defined where flash attention ran.
void forward(const at::Tensor& qkv_TX, const std::vector<int64_t>& piece_starts, HeadCounts heads, at::Tensor& out_TY,
             at::Tensor& log_sums_HT, at::Tensor& state);
// Writes all of dqkv_TX.
void backward(const at::Tensor& g_TY, const at::Tensor& qkv_TX, const std::vector<int64_t>& piece_starts,
              HeadCounts heads, const at::Tensor& out_TY, const at::Tensor& log_sums_HT, const at::Tensor& state,
              const at::Tensor& dqkv_TX);

}  // namespace switchyard::causal_attention_on_device
