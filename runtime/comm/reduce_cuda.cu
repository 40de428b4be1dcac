#include <type_traits>

#include "runtime/comm/reduce_cuda.h"
#include "runtime/device/kernel.cuh"

namespace switchyard {
namespace {

// 16-bit values are added in fp32, integers wrap.
template <typename T>
struct Wide {
  using type = T;
};
template <>
struct Wide<__nv_bfloat16> {
  using type = float;
};
template <>
struct Wide<__half> {
  using type = float;
};
template <>
struct Wide<int32_t> {
  using type = uint32_t;
};
template <>
struct Wide<int64_t> {
  using type = uint64_t;
};

template <typename T>
__device__ typename Wide<T>::type widen(T value) {
  return static_cast<typename Wide<T>::type>(value);
}

template <int kOp, typename T, typename W>
__device__ W combine(W a, W b) {
  if constexpr (kOp == 0) {
    return a + b;
  } else if constexpr (std::is_integral_v<T>) {
    const T x = static_cast<T>(a), y = static_cast<T>(b);
    return static_cast<W>((kOp == 1 ? x < y : y < x) ? y : x);
  } else {
    return (kOp == 1 ? a < b : b < a) || b != b ? b : a;  // a NaN on either side wins
  }
}

template <int kOp, typename T>
__global__ void reduce(CudaReduction r) {
  using W = typename Wide<T>::type;
  const int64_t count = r.piece_bytes / static_cast<int64_t>(sizeof(T));
  const T* mine = reinterpret_cast<const T*>(r.mine);
  const T* others = reinterpret_cast<const T*>(r.others);
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += int64_t{gridDim.x} * blockDim.x) {
    W total{};
    for (int rank = 0, place = 0; rank < r.ranks; ++rank) {
      const W next = widen(rank == r.rank ? mine[i] : others[place++ * count + i]);
      total = rank == 0 ? next : combine<kOp, T>(total, next);
    }
    reinterpret_cast<T*>(r.out)[i] = static_cast<T>(total);
  }
}

template <typename T>
void launch(const CudaReduction& r, CudaStream stream) {
  constexpr int kThreads = 256;
  const unsigned blocks = blocks_for(r.piece_bytes / static_cast<int64_t>(sizeof(T)), kThreads);
  const auto kernel = r.op == 0 ? reduce<0, T> : r.op == 1 ? reduce<1, T> : reduce<2, T>;
  kernel<<<blocks, kThreads, 0, stream_of(stream)>>>(r);
  check_launch("reduce");
}

}  // namespace

void reduce_in_order_cuda(const CudaReduction& reduction, CudaStream stream) {
  switch (reduction.element) {
    case Element::kBf16:
      return launch<__nv_bfloat16>(reduction, stream);
    case Element::kFp16:
      return launch<__half>(reduction, stream);
    case Element::kFp32:
      return launch<float>(reduction, stream);
    case Element::kFp64:
      return launch<double>(reduction, stream);
    case Element::kInt32:
      return launch<int32_t>(reduction, stream);
    case Element::kInt64:
      return launch<int64_t>(reduction, stream);
  }
}

}  // namespace switchyard
