#include "layers/ops/rope_cuda.h"
#include "runtime/device/kernel.cuh"

namespace switchyard {
namespace {

// A thread turns element i of every head of a row: one angle serves all of them.
template <typename T>
__global__ void turn(int64_t rows, int64_t stride, int64_t heads, int64_t width, double theta, double sign, T* x,
                     const int64_t* positions) {
  using C = Compute<T>;
  const int64_t half = width / 2;
  for (int64_t n = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; n < rows * half;
       n += int64_t{gridDim.x} * blockDim.x) {
    const int64_t t = n / half, i = n % half;
    double sine, cosine;
    sincos(static_cast<double>(positions[t]) * pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(width)),
           &sine, &cosine);
    const C s = static_cast<C>(sine * sign), c = static_cast<C>(cosine);
    for (int64_t h = 0; h < heads; ++h) {
      T* head = x + t * stride + h * width + i;
      const C a = load(head), b = load(head + half);
      store(head, a * c - b * s);
      store(head + half, b * c + a * s);
    }
  }
}

}  // namespace

void rope_turn_cuda(Element element, int64_t rows, int64_t stride, int64_t heads, int64_t width, double theta,
                    bool inverse, void* x, const int64_t* positions, CudaStream stream) {
  constexpr int kThreads = 128;
  if (rows == 0) return;
  with_element(element, [&](auto value) {
    using T = decltype(value);
    turn<T><<<blocks_for(rows * width / 2, kThreads), kThreads, 0, stream_of(stream)>>>(
        rows, stride, heads, width, theta, inverse ? -1.0 : 1.0, static_cast<T*>(x), positions);
  });
  check_launch("rope");
}

}  // namespace switchyard
