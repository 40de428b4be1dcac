#include <limits>

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>

#include "layers/ops/cross_entropy.h"
#include "runtime/numerics/lanes.h"

namespace switchyard::cross_entropy_kernel {
namespace {

constexpr int64_t kGrain = 8;  // rows of thousands of logits

template <typename L, typename T>
SY_KERNEL NumberOf<L> largest(const T* row, int64_t vocab) {
  constexpr auto kNone = -std::numeric_limits<NumberOf<L>>::infinity();
  constexpr int64_t kStep = kLanes<L>;
  const int64_t even = vocab - vocab % kStep;
  L v, largest = broadcast<L>(kNone);
  for (int64_t i = 0; i < even; i += kStep) {
    load(row + i, v);
    largest = maximum(v, largest);
  }
  if (even < vocab) {
    load_first(row + even, vocab - even, static_cast<T>(kNone), v);
    largest = maximum(v, largest);
  }
  return maximum(largest);
}

template <typename L, typename T>
SY_KERNEL NumberOf<L> sum_of_exp(const T* row, int64_t vocab, NumberOf<L> shift) {
  constexpr int64_t kStep = kLanes<L>;
  const int64_t even = vocab - vocab % kStep;
  L v, total{};
  for (int64_t i = 0; i < even; i += kStep) {
    load(row + i, v);
    total += exp(v - shift);
  }
  if (even < vocab) {
    load_first(row + even, vocab - even, static_cast<T>(-std::numeric_limits<NumberOf<L>>::infinity()), v);
    total += exp(v - shift);
  }
  return sum(total);
}

template <typename L, typename T>
SY_KERNEL void softmax_times(T* row, int64_t vocab, NumberOf<L> shift, NumberOf<L> factor) {
  constexpr int64_t kStep = kLanes<L>;
  const int64_t even = vocab - vocab % kStep;
  L v;
  for (int64_t i = 0; i < even; i += kStep) {
    load(row + i, v);
    store(row + i, exp(v - shift) * factor);
  }
  if (even < vocab) {
    load_first(row + even, vocab - even, T{0}, v);
    store_first(row + even, vocab - even, exp(v - shift) * factor);
  }
}

}  // namespace

void reduce_rows(const at::Tensor& logits_TV, const at::Tensor& targets_T, const at::Tensor& max_T,
                 const at::Tensor& sum_T) {
  const int64_t rows = logits_TV.size(0), vocab = logits_TV.size(1);
  const int64_t* targets = targets_T.const_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, logits_TV.scalar_type(), "cross_entropy_rows", [&] {
    using A = at::opmath_type<scalar_t>;
    const scalar_t* logits = logits_TV.const_data_ptr<scalar_t>();
    A* max = max_T.mutable_data_ptr<A>();
    A* total = sum_T.mutable_data_ptr<A>();
    at::parallel_for(0, rows, kGrain, [&](int64_t begin, int64_t end) {
      with_wide_registers([&](auto registers) __attribute__((always_inline)) {
        using L = Lanes<A, decltype(registers)>;
        for (int64_t t = begin; t < end; ++t) {
          const scalar_t* row = logits + t * vocab;
          const bool counted = targets[t] >= 0;
          max[t] = counted ? largest<L>(row, vocab) : A{0};
          total[t] = !counted ? A{1} : vocab == 0 ? A{0} : sum_of_exp<L>(row, vocab, max[t]);
        }
      });
    });
  });
}

void pick_targets(const at::Tensor& logits_TV, const at::Tensor& targets_T, int64_t vocab_begin,
                  const at::Tensor& target_T) {
  const int64_t rows = logits_TV.size(0), vocab = logits_TV.size(1);
  const int64_t* targets = targets_T.const_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, logits_TV.scalar_type(), "cross_entropy_targets", [&] {
    using A = at::opmath_type<scalar_t>;
    const scalar_t* logits = logits_TV.const_data_ptr<scalar_t>();
    A* target = target_T.mutable_data_ptr<A>();
    for (int64_t t = 0; t < rows; ++t) {
      const int64_t local = targets[t] - vocab_begin;
      const bool here = targets[t] >= 0 && local >= 0 && local < vocab;
      target[t] = here ? static_cast<A>(logits[t * vocab + local]) : A{0};
    }
  });
}

void to_gradient(const at::Tensor& logits_TV, const at::Tensor& targets_T, int64_t vocab_begin, const at::Tensor& max_T,
                 const at::Tensor& sum_T, double factor) {
  const int64_t rows = logits_TV.size(0), vocab = logits_TV.size(1);
  const int64_t* targets = targets_T.const_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, logits_TV.scalar_type(), "cross_entropy_gradient", [&] {
    using A = at::opmath_type<scalar_t>;
    scalar_t* logits = logits_TV.mutable_data_ptr<scalar_t>();
    const A* max = max_T.const_data_ptr<A>();
    const A* total = sum_T.const_data_ptr<A>();
    at::parallel_for(0, rows, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        scalar_t* row = logits + t * vocab;
        if (targets[t] < 0) {
          std::fill(row, row + vocab, scalar_t{0});
          continue;
        }
        const int64_t local = targets[t] - vocab_begin;
        const bool here = local >= 0 && local < vocab;
        const A target = here ? static_cast<A>(row[local]) : A{0};
        with_wide_registers([&](auto registers) __attribute__((always_inline)) {
          using L = Lanes<A, decltype(registers)>;
          softmax_times<L>(row, vocab, max[t], static_cast<A>(factor) / total[t]);
        });
        // Not softmax − 1 after rounding to the row's dtype: a sure prediction's small gradient would be lost.
        if (here) {
          const A loss = std::log(total[t]) + (max[t] - target);
          row[local] = static_cast<scalar_t>(std::expm1(-loss) * static_cast<A>(factor));
        }
      }
    });
  });
}

}  // namespace switchyard::cross_entropy_kernel
