// What kernels are written with. For .cu files only.
#pragma once

#include <cstdint>
#include <string>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "runtime/base/check.h"
#include "runtime/device/cuda_kernel.h"

namespace switchyard {

// The type that values stored as T are computed in.
template <typename T>
struct ComputeOf {
  using type = float;
};
template <>
struct ComputeOf<double> {
  using type = double;
};
template <typename T>
using Compute = typename ComputeOf<T>::type;

template <typename C>
__device__ __forceinline__ C load(const C* from) {
  return *from;
}
__device__ __forceinline__ float load(const __nv_bfloat16* from) {
  return __bfloat162float(*from);
}

__device__ __forceinline__ void store(float* to, float value) {
  *to = value;
}
__device__ __forceinline__ void store(double* to, double value) {
  *to = value;
}
__device__ __forceinline__ void store(__nv_bfloat16* to, float value) {
  *to = __float2bfloat16_rn(value);
}

// body(value of the stored type)
template <typename Body>
void with_element(Element element, const Body& body) {
  switch (element) {
    case Element::kBf16:
      return body(__nv_bfloat16());
    case Element::kFp32:
      return body(float());
    case Element::kFp64:
      return body(double());
    default:
      check_failed(__FILE__, __LINE__, "kernels take bf16, fp32 and fp64");
  }
}

constexpr int kWarp = 32;

template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(~0u, value, offset);
  return value;
}

template <typename T>
__device__ __forceinline__ T warp_max(T value) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const T other = __shfl_xor_sync(~0u, value, offset);
    value = other > value ? other : value;
  }
  return value;
}

// Over all threads of a block, whose size is a multiple of a warp; the same result in each. In a fixed order.
template <typename T, typename Warp, typename Join>
__device__ T block_reduce(T value, Warp warp, Join join) {
  __shared__ T parts[kWarp];
  value = warp(value);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = value;
  __syncthreads();
  T total = parts[0];
  for (unsigned i = 1; i < blockDim.x / kWarp; ++i) total = join(total, parts[i]);
  return total;
}

template <typename T>
__device__ T block_sum(T value) {
  return block_reduce(
      value, [](T v) { return warp_sum(v); }, [](T a, T b) { return a + b; });
}

template <typename T>
__device__ T block_max(T value) {
  return block_reduce(
      value, [](T v) { return warp_max(v); }, [](T a, T b) { return a > b ? a : b; });
}

inline cudaStream_t stream_of(CudaStream stream) {
  return static_cast<cudaStream_t>(stream);
}

// Blocks for `items` of `per_block` each, for kernels that loop in strides of the grid.
inline unsigned blocks_for(int64_t items, int64_t per_block) {
  constexpr int64_t kMost = 1 << 16;
  const int64_t blocks = (items + per_block - 1) / per_block;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks > kMost ? kMost : blocks);
}

// After a launch: what only a bug can break.
inline void check_launch(const char* kernel) {
  const cudaError_t code = cudaGetLastError();
  if (code != cudaSuccess) check_failed(kernel, 0, std::string("launch failed: ") + cudaGetErrorString(code));
}

}  // namespace switchyard
