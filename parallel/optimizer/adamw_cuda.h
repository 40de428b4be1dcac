// AdamW on device memory: the arithmetic of adamw_update.h, many shards at a time.
#pragma once

#include <cstdint>

#include "parallel/optimizer/adamw_factors.h"
#include "runtime/device/cuda_kernel.h"

namespace switchyard {

// Flat pieces of equal length. `value` may be null: the master is the value.
struct CudaShard {
  const void* gradient;
  void* master;
  void* m;
  void* v;
  void* value;  // bf16
  int64_t count;
  double decay;  // in place of the factors'
};

// `element` of all but the values: fp32 or fp64.
void adamw_update_cuda(Element element, const AdamWFactors& factors, const CudaShard* shards, int64_t count,
                       CudaStream stream);

}  // namespace switchyard
