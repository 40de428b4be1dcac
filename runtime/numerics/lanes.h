// 16 fp32 or 4 fp64 numbers, loaded from and stored to rows of bf16, fp32 or fp64, for kernels that the compiler would
// not vectorise by itself: reductions, exp, bf16. Sums run in a fixed order. The fp32 ones are one register where a
// kernel runs in with_wide_registers() on a processor that has such, else two.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include <c10/util/BFloat16.h>

namespace switchyard {

// Of how functions return lanes: all that do are inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

// Of everything that with_wide_registers() is to compile for them.
#define SY_KERNEL inline __attribute__((always_inline))

typedef float FloatLanes __attribute__((vector_size(64)));
typedef double DoubleLanes __attribute__((vector_size(32)));

template <typename A>
struct LanesOf;
template <>
struct LanesOf<float> {
  using Type = FloatLanes;
};
template <>
struct LanesOf<double> {
  using Type = DoubleLanes;
};
template <typename A>
using Lanes = typename LanesOf<A>::Type;
template <typename A>
constexpr int64_t kLanes = sizeof(Lanes<A>) / sizeof(A);

template <typename A>
SY_KERNEL Lanes<A> broadcast(A value) {
  return value - Lanes<A>{};
}

// kLanes<A> numbers from `source` on.
SY_KERNEL void load(const float* source, FloatLanes& lanes) {
  std::memcpy(&lanes, source, sizeof(lanes));
}
SY_KERNEL void load(const double* source, DoubleLanes& lanes) {
  std::memcpy(&lanes, source, sizeof(lanes));
}
SY_KERNEL void load(const c10::BFloat16* source, FloatLanes& lanes) {
  typedef uint16_t Halves __attribute__((vector_size(32)));
  typedef uint32_t Words __attribute__((vector_size(64)));
  Halves halves;
  std::memcpy(&halves, source, sizeof(halves));
  const Words words = __builtin_convertvector(halves, Words) << 16;
  std::memcpy(&lanes, &words, sizeof(lanes));
}

SY_KERNEL void store(float* target, const FloatLanes& lanes) {
  std::memcpy(target, &lanes, sizeof(lanes));
}
SY_KERNEL void store(double* target, const DoubleLanes& lanes) {
  std::memcpy(target, &lanes, sizeof(lanes));
}
// To nearest, ties to even; a NaN stays one.
SY_KERNEL void store(c10::BFloat16* target, const FloatLanes& lanes) {
  typedef uint16_t Halves __attribute__((vector_size(32)));
  typedef uint32_t Words __attribute__((vector_size(64)));
  Words words;
  std::memcpy(&words, &lanes, sizeof(words));
  const Words rounded = (words + 0x7FFFu + ((words >> 16) & 1u)) >> 16;
  const Words quiet = (words >> 16) | 0x40u;
  const Halves halves = __builtin_convertvector(lanes == lanes ? rounded : quiet, Halves);
  std::memcpy(target, &halves, sizeof(halves));
}

// The first n < kLanes<A> numbers; the other lanes are `fill`.
template <typename T, typename L>
SY_KERNEL void load_first(const T* source, int64_t n, T fill, L& lanes) {
  T buffer[sizeof(L) / sizeof(lanes[0])];
  for (T& value : buffer) value = fill;
  std::memcpy(buffer, source, n * sizeof(T));
  load(buffer, lanes);
}
template <typename T, typename L>
SY_KERNEL void store_first(T* target, int64_t n, const L& lanes) {
  T buffer[sizeof(L) / sizeof(lanes[0])];
  store(buffer, lanes);
  std::memcpy(target, buffer, n * sizeof(T));
}

// `count` numbers, or as many as there are lanes, the others being zero, or not stored: tails go through the same
// lanes, so that bits do not depend on where in a row a value stands.
template <typename T, typename L>
SY_KERNEL void load_some(const T* from, int64_t count, L& lanes) {
  if (count >= static_cast<int64_t>(sizeof(L) / sizeof(lanes[0]))) {
    load(from, lanes);
  } else {
    load_first(from, count, T{0}, lanes);
  }
}
template <typename T, typename L>
SY_KERNEL void store_some(T* to, int64_t count, const L& lanes) {
  if (count >= static_cast<int64_t>(sizeof(L) / sizeof(lanes[0]))) {
    store(to, lanes);
  } else {
    store_first(to, count, lanes);
  }
}

SY_KERNEL float sum(const FloatLanes& v) {
  const auto quarter = [&v](int i) __attribute__((always_inline)) {
    return (v[i] + v[i + 8]) + (v[i + 4] + v[i + 12]);
  };
  return (quarter(0) + quarter(1)) + (quarter(2) + quarter(3));
}
SY_KERNEL double sum(const DoubleLanes& v) {
  return (v[0] + v[2]) + (v[1] + v[3]);
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
    constexpr size_t kAll = sizeof(L) / sizeof(lanes[0]);
    return joined<count / 2>(join(lanes, rotated<count / 2>(lanes, std::make_index_sequence<kAll>())), join);
  }
}
template <typename L>
SY_KERNEL auto maximum(const L& lanes) {
  return joined<sizeof(L) / sizeof(lanes[0])>(
      lanes, [](const L& a, const L& b) __attribute__((always_inline)) { return maximum(a, b); });
}
template <typename L>
SY_KERNEL auto minimum(const L& lanes) {
  return joined<sizeof(L) / sizeof(lanes[0])>(
      lanes, [](const L& a, const L& b) __attribute__((always_inline)) { return minimum(a, b); });
}

// e^x within 2 ulp for x ≤ 88; below −87 it is 0. Range reduction by n·ln 2 in two parts (Cody and Waite), then the
// Taylor polynomial of degree 7 on |r| ≤ ln 2 / 2, whose remainder is below 6e-9 relative.
SY_KERNEL FloatLanes exp(const FloatLanes& x) {
  typedef int32_t Ints __attribute__((vector_size(64)));
  constexpr float kRounder = 12582912.0f;  // 1.5·2²³: adding it rounds to an integer, kept in the low bits
  const FloatLanes shifted = x * 1.44269504088896341f + kRounder;
  const FloatLanes n = shifted - kRounder;
  const FloatLanes r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  FloatLanes p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Ints bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = ((bits - 0x4B400000) + 127) << 23;
  FloatLanes power;
  std::memcpy(&power, &bits, sizeof(power));
  return x < -87.0f ? FloatLanes{} : p * power;
}

SY_KERNEL DoubleLanes exp(const DoubleLanes& x) {
  DoubleLanes result;
  for (int64_t i = 0; i < kLanes<double>; ++i) result[i] = std::exp(x[i]);
  return result;
}

template <typename Kernel>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"), noinline)) void in_wide_registers(
    const Kernel& kernel) {
  kernel();
}

// Runs the kernel, a function that is always_inline like all that it calls, compiled once more for processors with
// registers of 64 bytes where this is one. On one machine results are always the same bits.
template <typename Kernel>
void with_wide_registers(const Kernel& kernel) {
  static const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (wide) return in_wide_registers(kernel);
  kernel();
}

}  // namespace switchyard
