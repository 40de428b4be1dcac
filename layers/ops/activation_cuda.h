// Activation kernels on rows in device memory, behind activation.h.
#pragma once

#include "layers/ops/activation_kind.h"
#include "runtime/device/cuda_kernel.h"

namespace switchyard {

// Rows of consecutive values, `stride` values apart.
struct CudaRows {
  void* data;
  int64_t stride;
};

void activation_forward_cuda(Activation activation, Element element, int64_t rows, int64_t width, CudaRows h,
                             CudaRows out, CudaStream stream);

// out.data may be null: not wanted.
void activation_backward_cuda(Activation activation, Element element, int64_t rows, int64_t width, CudaRows h,
                              CudaRows g, CudaRows d, CudaRows out, CudaStream stream);

}  // namespace switchyard
