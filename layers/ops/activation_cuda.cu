#include "layers/ops/activation_cuda.h"
#include "runtime/device/kernel.cuh"

namespace switchyard {
namespace {

constexpr int kThreads = 256;

template <typename C>
struct Gradient {
  C d_gate, d_up, value;
};

template <Activation kKind, typename C>
__device__ Gradient<C> differentiate(C gate, C up, C g) {
  if constexpr (kKind == Activation::kSwiglu) {
    const C s = C(1) / (C(1) + exp(-gate)), silu = gate * s;
    return {g * up * (s + silu * (C(1) - s)), g * silu, silu * up};
  } else if constexpr (kKind == Activation::kGelu) {
    constexpr double kRootHalf = 0.70710678118654752440, kDensityAtZero = 0.39894228040143267794;
    const C cdf = C(0.5) * (C(1) + erf(gate * C(kRootHalf)));
    const C density = exp(gate * gate * C(-0.5)) * C(kDensityAtZero);
    return {g * (cdf + gate * density), C(0), gate * cdf};
  } else {
    return {gate <= C(0) ? C(0) : g, C(0), gate > C(0) || gate != gate ? gate : C(0)};
  }
}

template <Activation kKind, bool kBackward, typename T>
__global__ void activate(int64_t rows, int64_t width, CudaRows h, CudaRows g, CudaRows d, CudaRows out) {
  using C = Compute<T>;
  constexpr bool kGated = kKind == Activation::kSwiglu;
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const T* gate = static_cast<const T*>(h.data) + r * h.stride;
    for (int64_t c = threadIdx.x; c < width; c += blockDim.x) {
      const C up = kGated ? load(gate + width + c) : C(0);
      const C upstream = kBackward ? load(static_cast<const T*>(g.data) + r * g.stride + c) : C(0);
      const Gradient<C> all = differentiate<kKind>(load(gate + c), up, upstream);
      if constexpr (kBackward) {
        T* gradient = static_cast<T*>(d.data) + r * d.stride;
        store(gradient + c, all.d_gate);
        if constexpr (kGated) store(gradient + width + c, all.d_up);
      }
      if (out.data) store(static_cast<T*>(out.data) + r * out.stride + c, all.value);
    }
  }
}

template <bool kBackward>
void launch(Activation activation, Element element, int64_t rows, int64_t width, CudaRows h, CudaRows g, CudaRows d,
            CudaRows out, CudaStream stream) {
  if (rows == 0 || width == 0) return;
  with_element(element, [&](auto value) {
    using T = decltype(value);
    const auto kernel = activation == Activation::kSwiglu ? activate<Activation::kSwiglu, kBackward, T>
                        : activation == Activation::kGelu ? activate<Activation::kGelu, kBackward, T>
                                                          : activate<Activation::kRelu, kBackward, T>;
    kernel<<<blocks_for(rows, 1), kThreads, 0, stream_of(stream)>>>(rows, width, h, g, d, out);
  });
  check_launch("activation");
}

}  // namespace

void activation_forward_cuda(Activation activation, Element element, int64_t rows, int64_t width, CudaRows h,
                             CudaRows out, CudaStream stream) {
  launch<false>(activation, element, rows, width, h, {nullptr, 0}, {nullptr, 0}, out, stream);
}

void activation_backward_cuda(Activation activation, Element element, int64_t rows, int64_t width, CudaRows h,
                              CudaRows g, CudaRows d, CudaRows out, CudaStream stream) {
  launch<true>(activation, element, rows, width, h, g, d, out, stream);
}

}  // namespace switchyard
