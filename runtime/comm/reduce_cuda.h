// The device's side of reduce.h. Only in builds with SWITCHYARD_CUDA.
#pragma once

#include <cstdint>

#include "runtime/device/cuda_kernel.h"

namespace switchyard {

// A Reduction as kernels see it. `op`: 0 sum, 1 maximum, 2 minimum.
struct CudaReduction {
  Element element;
  int op;
  int rank, ranks;
  const char* mine;
  const char* others;
  int64_t piece_bytes;
  char* out;
};

// The same arithmetic in the same order as reduce_in_order.
void reduce_in_order_cuda(const CudaReduction& reduction, CudaStream stream);

}  // namespace switchyard
