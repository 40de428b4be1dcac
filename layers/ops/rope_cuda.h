// Rotary positions on device memory, behind rope.h.
#pragma once

#include "runtime/device/cuda_kernel.h"

namespace switchyard {

// x: rows of `stride` values, of which the first heads·width are turned by ±position·theta^(−2i/width).
void rope_turn_cuda(Element element, int64_t rows, int64_t stride, int64_t heads, int64_t width, double theta,
                    bool inverse, void* x, const int64_t* positions, CudaStream stream);

}  // namespace switchyard
