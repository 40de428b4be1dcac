// Softmax routing on device memory, behind softmax_top_k.h. `element` is fp32 or fp64.
#pragma once

#include "runtime/device/cuda_kernel.h"

namespace switchyard {

struct CudaTopK {
  Element element;
  int64_t tokens, experts, k;
  bool renormalise;
};

// Per token the k largest logits by falling value (unless the ids are given), their weights, log Σ exp of its logits,
// and −Σ p·log p.
void softmax_top_k_cuda(const CudaTopK& shape, bool given, const void* logits, const void* probabilities, int64_t* ids,
                        void* weights, void* log_sums, void* entropies, CudaStream stream);

// common: of each expert, in `element`.
void softmax_top_k_backward_cuda(const CudaTopK& shape, const void* probabilities, const int64_t* ids,
                                 const void* weights, const void* log_sums, const void* weight_gradients,
                                 const void* common, double z_factor, void* gradients, CudaStream stream);

}  // namespace switchyard
