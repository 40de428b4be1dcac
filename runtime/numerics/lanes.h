// As many fp32 or fp64 numbers as a register holds, loaded from and stored to rows of bf16, fp32 or fp64, for kernels
// that the compiler would not vectorise by itself: reductions, exp, bf16. Kernels are written for any number of lanes
// L; with_wide_registers() tells them which. Sums run in an order that the number of lanes fixes.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <c10/util/BFloat16.h>

namespace switchyard {

// Of how functions return lanes: all that do are inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

// Of everything that with_wide_registers() is to compile for them.
#define SY_KERNEL inline __attribute__((always_inline))

// What a kernel is told of the processor's registers. Not more lanes than they hold: of vectors of two registers GCC 12
// compares, selects and converts the numbers one by one.
struct WideRegisters {
  static constexpr size_t kFloatBytes = 64;
};
struct NarrowRegisters {
  static constexpr size_t kFloatBytes = 32;
};

template <typename Number, size_t bytes>
struct VectorOf {
  typedef Number Type __attribute__((vector_size(bytes)));
};
template <typename Number, size_t bytes>
using Vector = typename VectorOf<Number, bytes>::Type;

// A: float or double, of which there are four whatever the registers.
template <typename A, typename Registers>
using Lanes = Vector<A, std::is_same_v<A, float> ? Registers::kFloatBytes : 32>;
template <typename L>
using NumberOf = std::remove_cvref_t<decltype(std::declval<L&>()[0])>;
template <typename L>
constexpr int64_t kLanes = sizeof(L) / sizeof(NumberOf<L>);

template <typename L>
SY_KERNEL L broadcast(NumberOf<L> value) {
  return value - L{};
}

// kLanes<L> numbers from `source` on.
template <typename L>
SY_KERNEL void load(const NumberOf<L>* source, L& lanes) {
  std::memcpy(&lanes, source, sizeof(lanes));
}
template <typename L>
SY_KERNEL void load(const c10::BFloat16* source, L& lanes) {
  static_assert(std::is_same_v<NumberOf<L>, float>);
  using Halves = Vector<uint16_t, sizeof(L) / 2>;
  using Words = Vector<uint32_t, sizeof(L)>;
  Halves halves;
  std::memcpy(&halves, source, sizeof(halves));
  const Words words = __builtin_convertvector(halves, Words) << 16;
  std::memcpy(&lanes, &words, sizeof(lanes));
}

template <typename L>
SY_KERNEL void store(NumberOf<L>* target, const L& lanes) {
  std::memcpy(target, &lanes, sizeof(lanes));
}
// To nearest, ties to even; a NaN stays one.
template <typename L>
SY_KERNEL void store(c10::BFloat16* target, const L& lanes) {
  static_assert(std::is_same_v<NumberOf<L>, float>);
  using Halves = Vector<uint16_t, sizeof(L) / 2>;
  using Words = Vector<uint32_t, sizeof(L)>;
  Words words;
  std::memcpy(&words, &lanes, sizeof(words));
  const Words rounded = (words + 0x7FFFu + ((words >> 16) & 1u)) >> 16;
  const Words quiet = (words >> 16) | 0x40u;
  const Halves halves = __builtin_convertvector(lanes == lanes ? rounded : quiet, Halves);
  std::memcpy(target, &halves, sizeof(halves));
}

// The first n < kLanes<L> numbers; the other lanes are `fill`.
template <typename T, typename L>
SY_KERNEL void load_first(const T* source, int64_t n, T fill, L& lanes) {
  T buffer[kLanes<L>];
  for (T& value : buffer) value = fill;
  std::memcpy(buffer, source, n * sizeof(T));
  load(buffer, lanes);
}
template <typename T, typename L>
SY_KERNEL void store_first(T* target, int64_t n, const L& lanes) {
  T buffer[kLanes<L>];
  store(buffer, lanes);
  std::memcpy(target, buffer, n * sizeof(T));
}

// `count` numbers, or as many as there are lanes, the others being zero, or not stored: tails go through the same
// lanes, so that bits do not depend on where in a row a value stands.
template <typename T, typename L>
SY_KERNEL void load_some(const T* from, int64_t count, L& lanes) {
  if (count >= kLanes<L>) {
    load(from, lanes);
  } else {
    load_first(from, count, T{0}, lanes);
  }
}
template <typename T, typename L>
SY_KERNEL void store_some(T* to, int64_t count, const L& lanes) {
  if (count >= kLanes<L>) {
    store(to, lanes);
  } else {
    store_first(to, count, lanes);
  }
}

// Halves are added to halves; the last four of fp32 are added in neighbouring pairs.
template <typename L>
SY_KERNEL NumberOf<L> sum(const L& v) {
  if constexpr (kLanes<L> == 4) {
    return (v[0] + v[2]) + (v[1] + v[3]);
  } else {
    const auto quarter = [&v](int i) __attribute__((always_inline)) {
      if constexpr (kLanes<L> == 16) {
        return (v[i] + v[i + 8]) + (v[i + 4] + v[i + 12]);
      } else {
        static_assert(kLanes<L> == 8);
        return v[i] + v[i + 4];
      }
    };
    return (quarter(0) + quarter(1)) + (quarter(2) + quarter(3));
  }
}

template <typename L>
SY_KERNEL L maximum(const L& a, const L& b) {
  return a > b ? a : b;
}
template <typename L>
SY_KERNEL L minimum(const L& a, const L& b) {
  return a < b ? a : b;
}

template <size_t by, typename L, size_t... lane>
SY_KERNEL L rotated(const L& lanes, std::index_sequence<lane...>) {
  return __builtin_shufflevector(lanes, lanes, ((lane + by) % sizeof...(lane))...);
}
// All lanes joined by an operation whose order does not matter.
template <size_t count, typename L, typename Join>
SY_KERNEL auto joined(const L& lanes, const Join& join) {
  if constexpr (count == 1) {
    return lanes[0];
  } else {
    return joined<count / 2>(join(lanes, rotated<count / 2>(lanes, std::make_index_sequence<kLanes<L>>())), join);
  }
}
template <typename L>
SY_KERNEL auto maximum(const L& lanes) {
  return joined<kLanes<L>>(
      lanes, [](const L& a, const L& b) __attribute__((always_inline)) { return maximum(a, b); });
}
template <typename L>
SY_KERNEL auto minimum(const L& lanes) {
  return joined<kLanes<L>>(
      lanes, [](const L& a, const L& b) __attribute__((always_inline)) { return minimum(a, b); });
}

// e^x within 2 ulp for x ≤ 88; below −87 it is 0. Range reduction by n·ln 2 in two parts (Cody and Waite), then the
// Taylor polynomial of degree 7 on |r| ≤ ln 2 / 2, whose remainder is below 6e-9 relative.
template <typename L>
SY_KERNEL L exp_of_floats(const L& x) {
  using Ints = Vector<int32_t, sizeof(L)>;
  constexpr float kRounder = 12582912.0f;  // 1.5·2²³: adding it rounds to an integer, kept in the low bits
  const L shifted = x * 1.44269504088896341f + kRounder;
  const L n = shifted - kRounder;
  const L r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  L p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Ints bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = ((bits - 0x4B400000) + 127) << 23;
  L power;
  std::memcpy(&power, &bits, sizeof(power));
  return x < -87.0f ? L{} : p * power;
}

template <typename L>
SY_KERNEL L exp(const L& x) {
  if constexpr (std::is_same_v<NumberOf<L>, float>) {
    return exp_of_floats(x);
  } else {
    L result;
    for (int64_t i = 0; i < kLanes<L>; ++i) result[i] = std::exp(x[i]);
    return result;
  }
}

template <typename Kernel>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"), noinline)) void in_wide_registers(
    const Kernel& kernel) {
  kernel(WideRegisters());
}

inline bool has_wide_registers() {
  static const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return wide;
}

// Runs the kernel, a function of the registers' kind that is always_inline like all that it calls: it is compiled for
// both kinds, and the wide ones are taken where the processor has them. On one machine results are always the same
// bits; the order of sums differs between the kinds.
template <typename Kernel>
void with_wide_registers(const Kernel& kernel) {
  if (has_wide_registers()) return in_wide_registers(kernel);
  kernel(NarrowRegisters());
}

}  // namespace switchyard
