#include "layers/ops/rms_norm_cuda.h"
#include "runtime/device/kernel.cuh"

namespace switchyard {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostParts = 128;  // a function of the rows alone, so that every device sums in one order

int64_t rows_a_part(int64_t rows) {
  const int64_t even = (rows + kMostParts - 1) / kMostParts;
  return even < 16 ? 16 : even;
}

template <typename T>
__global__ void forward(int64_t rows, int64_t width, Compute<T> epsilon, const T* x, const Compute<T>* weight, T* y,
                        Compute<T>* inverse) {
  using C = Compute<T>;
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    C squares = 0;
    for (int64_t d = threadIdx.x; d < width; d += blockDim.x) {
      const C v = load(x + t * width + d);
      squares += v * v;
    }
    const C scale = C(1) / sqrt(block_sum(squares) / static_cast<C>(width) + epsilon);
    for (int64_t d = threadIdx.x; d < width; d += blockDim.x) {
      store(y + t * width + d, load(x + t * width + d) * scale * weight[d]);
    }
    if (threadIdx.x == 0) inverse[t] = scale;
  }
}

// dx = r·(g·w − x·r²·mean(g·w·x))
template <typename T>
__global__ void backward(int64_t rows, int64_t width, const T* g, const T* x, const Compute<T>* weight,
                         const Compute<T>* inverse, T* dx) {
  using C = Compute<T>;
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    C products = 0;
    for (int64_t d = threadIdx.x; d < width; d += blockDim.x) {
      products += load(g + t * width + d) * load(x + t * width + d) * weight[d];
    }
    const C r = inverse[t], along = r * r * r * block_sum(products) / static_cast<C>(width);
    for (int64_t d = threadIdx.x; d < width; d += blockDim.x) {
      store(dx + t * width + d, load(g + t * width + d) * weight[d] * r - load(x + t * width + d) * along);
    }
  }
}

// A thread sums one column over the rows of a part: dw = Σ g·x·r.
template <typename T>
__global__ void weight_parts(int64_t rows, int64_t part_rows, int64_t width, const T* g, const T* x,
                             const Compute<T>* inverse, Compute<T>* parts) {
  const int64_t d = blockIdx.x * int64_t{blockDim.x} + threadIdx.x, begin = blockIdx.y * part_rows;
  if (d >= width) return;
  const int64_t end = begin + part_rows < rows ? begin + part_rows : rows;
  Compute<T> sum = 0;
  for (int64_t t = begin; t < end; ++t) sum += load(g + t * width + d) * load(x + t * width + d) * inverse[t];
  parts[blockIdx.y * width + d] = sum;
}

template <typename C>
__global__ void add_parts(int64_t count, int64_t width, const C* parts, C* dweight) {
  const int64_t d = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  if (d >= width) return;
  C sum = 0;
  for (int64_t n = 0; n < count; ++n) sum += parts[n * width + d];
  dweight[d] += sum;
}

}  // namespace

int64_t rms_norm_parts(int64_t rows) {
  return (rows + rows_a_part(rows) - 1) / rows_a_part(rows);
}

void rms_norm_forward_cuda(Element element, int64_t rows, int64_t width, double epsilon, const void* x,
                           const void* weight, void* y, void* inverse, CudaStream stream) {
  if (rows == 0) return;
  with_element(element, [&](auto value) {
    using T = decltype(value);
    using C = Compute<T>;
    forward<T><<<blocks_for(rows, 1), kThreads, 0, stream_of(stream)>>>(
        rows, width, static_cast<C>(epsilon), static_cast<const T*>(x), static_cast<const C*>(weight),
        static_cast<T*>(y), static_cast<C*>(inverse));
  });
  check_launch("rms_norm");
}

void rms_norm_backward_cuda(Element element, int64_t rows, int64_t width, const void* g, const void* x,
                            const void* weight, const void* inverse, void* dx, void* parts, void* dweight,
                            CudaStream stream) {
  if (rows == 0) return;
  with_element(element, [&](auto value) {
    using T = decltype(value);
    using C = Compute<T>;
    const auto* gradients = static_cast<const T*>(g);
    const auto* inputs = static_cast<const T*>(x);
    const auto* scales = static_cast<const C*>(inverse);
    const cudaStream_t queue = stream_of(stream);
    const auto count = static_cast<unsigned>(rms_norm_parts(rows));
    const unsigned columns = blocks_for(width, kThreads);
    backward<T><<<blocks_for(rows, 1), kThreads, 0, queue>>>(
        rows, width, gradients, inputs, static_cast<const C*>(weight), scales, static_cast<T*>(dx));
    weight_parts<T><<<dim3(columns, count), kThreads, 0, queue>>>(rows, rows_a_part(rows), width, gradients, inputs,
                                                                  scales, static_cast<C*>(parts));
    add_parts<C><<<columns, kThreads, 0, queue>>>(count, width, static_cast<const C*>(parts), static_cast<C*>(dweight));
  });
  check_launch("rms_norm_backward");
}

}  // namespace switchyard
