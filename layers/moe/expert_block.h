// The arithmetic of a block of experts, down·activation(up·x) for each over its own rows, without autograd.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "layers/ops/activation.h"
#include "parallel/parameter/parameter.h"
#include "runtime/comm/shared_memory.h"

namespace switchyard {

struct ExpertBlock {
  Activation activation;
  Parameter &up, &down;  // stacks of one matrix an expert, or of one for all of them
  // For outputs and the rows' gradients, where ranks of this host can read them; may be null.
  const SharedMemory* memory;
};

// Room for h_RP, the pre-activations: for all where they are kept, and on a device; else for one expert's at a time.
at::Tensor pre_activations(const at::Tensor& rows_RD, int64_t width, std::span<const int64_t> counts, bool keep);

// y_RD, and the pre-activations in h_RP: all of them where it has R rows, else the last expert's. counts: rows of each
// expert, in order.
at::Tensor compute_block(const ExpertBlock& block, const at::Tensor& rows_RD, std::span<const int64_t> counts,
                         at::Tensor h_RP);

// What the weights' gradients are products of: g_RDᵀ·activated_RF and d_RPᵀ·x_RD, expert by expert.
struct WeightFactors {
  at::Tensor x_RD, g_RD, activated_RF, d_RP;
  std::vector<int64_t> counts;
};

// The rows' gradient, undefined unless wanted. Pre-activations that are undefined are computed again. The weights'
// gradients are added in place or, where `later` is not null, left to add_weight_gradients: host memory only.
at::Tensor differentiate_block(const ExpertBlock& block, const at::Tensor& rows_RD, const at::Tensor& h_RP,
                               const at::Tensor& g_RD, std::span<const int64_t> counts, bool want_rows,
                               WeightFactors* later);

// Of several chunks of the rows: an expert's in one product.
void add_weight_gradients(const ExpertBlock& block, std::span<const WeightFactors> chunks);

}  // namespace switchyard
