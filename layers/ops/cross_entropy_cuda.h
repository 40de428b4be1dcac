// Cross-entropy on device memory, behind cross_entropy.h. The logits are `element`, vectors of T fp32 (fp64); rows with
// target −1 are skipped.
#pragma once

#include "runtime/device/cuda_kernel.h"

namespace switchyard {

struct CudaLogits {
  Element element;
  int64_t rows, vocab, vocab_begin;
  void* logits;
  const int64_t* targets;
};

// Per row the largest logit, the sum of exp(logit − that), and the target's logit where it is here, else 0. (−∞, 0)
// without vocabulary, (0, 1) where skipped.
void cross_entropy_rows_cuda(const CudaLogits& where, void* max, void* sum, void* target, CudaStream stream);

// logits ← factor · (softmax − [v = target])
void cross_entropy_gradient_cuda(const CudaLogits& where, const void* max, const void* sum, double factor,
                                 CudaStream stream);

}  // namespace switchyard
