// Grouped-query attention (Ainslie et al., "GQA", 2023) with rotary positions, tensor-parallel over heads.
#pragma once

#include <string>

#include <ATen/core/Tensor.h>

#include "layers/attention/causal_attention.h"
#include "layers/attention/config.h"
#include "layers/build_context.h"
#include "layers/models/token_batch.h"
#include "parallel/parameter/parameter.h"

namespace switchyard {

// Logical tensors, with H heads, KV key and value heads of width C, and D the model's width: `name`.q [H·C, D],
// `name`.k and `name`.v [KV·C, D], `name`.o [D, H·C]. A tensor rank holds whole heads: H/tensor queries' and the key
// and value heads that they read; where tensor > kv_heads, neighbouring ranks (kKvReplica) hold the same one.
class GroupedQueryAttention {
 public:
  // config is valid, and the mesh was resolved for its heads.
  GroupedQueryAttention(const std::string& name, int64_t width, const AttentionConfig& config,
                        const BuildContext& context);

  // x_tD: this tensor rank's rows, cut_sizes(T, tensor) of the T tokens of `batch` → the same rows of the output.
  // Collective over the tensor group, forward and backward; T may be 0. Throws StatusError.
  at::Tensor forward(const at::Tensor& x_tD, const TokenBatch& batch);

  ParameterList parameters() { return {&qkv_, &o_}; }

 private:
  Communicator& tensor_;
  HeadCounts heads_;  // this rank's
  double rope_theta_;
  Parameter qkv_;  // [(H_l + 2·KV_l)·C, D]
  Parameter o_;    // [D, H_l·C]
};

}  // namespace switchyard
