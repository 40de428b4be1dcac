// The row kernels of attention. T: bf16, fp32 or fp64; A: its accumulate type; L: lanes of A. Where T is A, the results
// of a row may overwrite its arguments.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "runtime/numerics/lanes.h"

namespace switchyard::causal_attention_kernel {

// weights ← exp(scale·(score − largest)) for the first `keys` scores, 0 up to `padded_keys`. Returns log Σ exp(scale·
// score) and the inverse of the weights' sum.
template <typename L, typename T, typename A>
SY_KERNEL std::pair<A, A> softmax_row(const A* scores, A scale, int64_t keys, int64_t padded_keys, T* weights) {
  constexpr int64_t kStep = kLanes<L>;
  constexpr A kNone = -std::numeric_limits<A>::infinity();
  const int64_t even = keys - keys % kStep;
  L s, last, largest = broadcast<L>(kNone), total{};
  load_first(scores + even, keys - even, kNone, last);
  for (int64_t i = 0; i < even; i += kStep) {
    load(scores + i, s);
    largest = maximum(s, largest);
  }
  const A top = maximum(maximum(last, largest));
  for (int64_t i = 0; i < even; i += kStep) {
    load(scores + i, s);
    s = exp((s - top) * scale);
    total += s;
    store(weights + i, s);
  }
  std::memset(static_cast<void*>(weights + even), 0, (padded_keys - even) * sizeof(T));
  last = exp((last - top) * scale);
  store_first(weights + even, keys - even, last);
  const A sum_of_weights = sum(total + last);
  return {top * scale + std::log(sum_of_weights), 1 / sum_of_weights};
}

// weights ← p = exp(scale·score − log_sum), dscores ← scale·p·(dweight − delta), 0 from `keys` to `padded_keys`.
template <typename L, typename T, typename A>
SY_KERNEL void softmax_backward_row(const A* scores, const A* dweights, A scale, A log_sum, A delta, int64_t keys,
                                    int64_t padded_keys, T* weights, T* dscores) {
  constexpr int64_t kStep = kLanes<L>;
  const int64_t even = keys - keys % kStep;
  L s, d, last_s, last_d;
  load_first(scores + even, keys - even, -std::numeric_limits<A>::infinity(), last_s);
  load_first(dweights + even, keys - even, A{0}, last_d);
  for (int64_t i = 0; i < even; i += kStep) {
    load(scores + i, s);
    load(dweights + i, d);
    const L p = exp(s * scale - log_sum);
    store(weights + i, p);
    store(dscores + i, p * (d - delta) * scale);
  }
  std::memset(static_cast<void*>(weights + even), 0, (padded_keys - even) * sizeof(T));
  std::memset(static_cast<void*>(dscores + even), 0, (padded_keys - even) * sizeof(T));
  const L p = exp(last_s * scale - log_sum);
  store_first(weights + even, keys - even, p);
  store_first(dscores + even, keys - even, p * (last_d - delta) * scale);
}

template <typename L, typename T>
SY_KERNEL NumberOf<L> dot(const T* a, const T* b, int64_t width) {
  using A = NumberOf<L>;
  constexpr int64_t kStep = kLanes<L>;
  const int64_t even = width - width % kStep;
  L x, y, products{};
  for (int64_t i = 0; i < even; i += kStep) {
    load(a + i, x);
    load(b + i, y);
    products += x * y;
  }
  A total = sum(products);
  for (int64_t i = even; i < width; ++i) total += static_cast<A>(a[i]) * static_cast<A>(b[i]);
  return total;
}

// target ← factor · source, rounded.
template <typename L, typename T, typename A>
SY_KERNEL void write_row(const A* source, A factor, int64_t width, T* target) {
  constexpr int64_t kStep = kLanes<L>;
  const int64_t even = width - width % kStep;
  L x;
  for (int64_t i = 0; i < even; i += kStep) {
    load(source + i, x);
    store(target + i, x * factor);
  }
  for (int64_t i = even; i < width; ++i) target[i] = static_cast<T>(source[i] * factor);
}

}  // namespace switchyard::causal_attention_kernel
