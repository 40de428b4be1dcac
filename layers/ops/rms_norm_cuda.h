// RMSNorm on device memory, behind rms_norm.h. x, g, y and dx are `element`, the others fp32 (fp64).
#pragma once

#include "runtime/device/cuda_kernel.h"

namespace switchyard {

void rms_norm_forward_cuda(Element element, int64_t rows, int64_t width, double epsilon, const void* x,
                           const void* weight, void* y, void* inverse, CudaStream stream);

// parts: room for rms_norm_parts(rows) · width sums of the weight's gradient, which is added to dweight.
int64_t rms_norm_parts(int64_t rows);
void rms_norm_backward_cuda(Element element, int64_t rows, int64_t width, const void* g, const void* x,
                            const void* weight, const void* inverse, void* dx, void* parts, void* dweight,
                            CudaStream stream);

}  // namespace switchyard
