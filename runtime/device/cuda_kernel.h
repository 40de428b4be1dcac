// What kernels and their callers share. Neither LibTorch's nor CUDA's headers: the first are slow to compile for every
// architecture, the second are not there in a build without CUDA.
#pragma once

#include <cstdint>

namespace switchyard {

enum class Element { kBf16, kFp16, kFp32, kFp64, kInt32, kInt64 };

using CudaStream = void*;  // cudaStream_t

}  // namespace switchyard
