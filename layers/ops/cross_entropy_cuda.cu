#include <cmath>

#include "layers/ops/cross_entropy_cuda.h"
#include "runtime/device/kernel.cuh"

namespace switchyard {
namespace {

constexpr int kThreads = 256;

template <typename T>
__global__ void reduce_rows(int64_t rows, int64_t vocab, int64_t vocab_begin, const T* logits, const int64_t* targets,
                            Compute<T>* max, Compute<T>* sum, Compute<T>* target) {
  using C = Compute<T>;
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    const T* row = logits + t * vocab;
    const bool counted = targets[t] >= 0;
    C top = -INFINITY, total = 0;
    if (counted) {
      for (int64_t v = threadIdx.x; v < vocab; v += blockDim.x) {
        const C logit = load(row + v);
        top = logit > top || logit != logit ? logit : top;
      }
      top = block_max(top);
      for (int64_t v = threadIdx.x; v < vocab; v += blockDim.x) total += exp(load(row + v) - top);
      total = block_sum(total);
    }
    if (threadIdx.x != 0) continue;
    const int64_t local = targets[t] - vocab_begin;
    max[t] = counted ? top : C(0);
    sum[t] = counted ? total : C(1);
    target[t] = counted && local >= 0 && local < vocab ? load(row + local) : C(0);
  }
}

template <typename T>
__global__ void to_gradient(int64_t rows, int64_t vocab, int64_t vocab_begin, T* logits, const int64_t* targets,
                            const Compute<T>* max, const Compute<T>* sum, Compute<T> factor) {
  using C = Compute<T>;
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    T* row = logits + t * vocab;
    const bool counted = targets[t] >= 0;
    const int64_t local = counted ? targets[t] - vocab_begin : -1;
    const C scale = factor / sum[t];
    for (int64_t v = threadIdx.x; v < vocab; v += blockDim.x) {
      const C logit = load(row + v);
      // Not softmax − 1 after rounding to the row's dtype: a sure prediction's small gradient would be lost.
      const C gradient = v == local ? expm1(-(log(sum[t]) + (max[t] - logit))) * factor : exp(logit - max[t]) * scale;
      store(row + v, counted ? gradient : C(0));
    }
  }
}

}  // namespace

void cross_entropy_rows_cuda(const CudaLogits& where, void* max, void* sum, void* target, CudaStream stream) {
  if (where.rows == 0) return;
  with_element(where.element, [&](auto value) {
    using T = decltype(value);
    using C = Compute<T>;
    reduce_rows<T><<<blocks_for(where.rows, 1), kThreads, 0, stream_of(stream)>>>(
        where.rows, where.vocab, where.vocab_begin, static_cast<const T*>(where.logits), where.targets,
        static_cast<C*>(max), static_cast<C*>(sum), static_cast<C*>(target));
  });
  check_launch("cross_entropy_rows");
}

void cross_entropy_gradient_cuda(const CudaLogits& where, const void* max, const void* sum, double factor,
                                 CudaStream stream) {
  if (where.rows == 0) return;
  with_element(where.element, [&](auto value) {
    using T = decltype(value);
    using C = Compute<T>;
    to_gradient<T><<<blocks_for(where.rows, 1), kThreads, 0, stream_of(stream)>>>(
        where.rows, where.vocab, where.vocab_begin, static_cast<T*>(where.logits), where.targets,
        static_cast<const C*>(max), static_cast<const C*>(sum), static_cast<C>(factor));
  });
  check_launch("cross_entropy_gradient");
}

}  // namespace switchyard
