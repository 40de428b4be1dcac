// One register of fp32 or fp64 numbers, loaded from and stored to rows of bf16, fp32 or fp64, for kernels that the
// compiler would not vectorise by itself: reductions, exp, bf16. Sums run in a fixed order.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include <c10/util/BFloat16.h>

namespace switchyard {

typedef float FloatLanes __attribute__((vector_size(32)));
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
inline Lanes<A> broadcast(A value) {
  return value - Lanes<A>{};
}

// kLanes<A> numbers from `source` on.
inline void load(const float* source, FloatLanes& lanes) {
  std::memcpy(&lanes, source, sizeof(lanes));
}
inline void load(const double* source, DoubleLanes& lanes) {
  std::memcpy(&lanes, source, sizeof(lanes));
}
inline void load(const c10::BFloat16* source, FloatLanes& lanes) {
  typedef uint16_t Halves __attribute__((vector_size(16)));
  typedef uint32_t Words __attribute__((vector_size(32)));
  Halves halves;
  std::memcpy(&halves, source, sizeof(halves));
  const Words words = __builtin_convertvector(halves, Words) << 16;
  std::memcpy(&lanes, &words, sizeof(lanes));
}

inline void store(float* target, FloatLanes lanes) {
  std::memcpy(target, &lanes, sizeof(lanes));
}
inline void store(double* target, DoubleLanes lanes) {
  std::memcpy(target, &lanes, sizeof(lanes));
}
// To nearest, ties to even; a NaN stays one.
inline void store(c10::BFloat16* target, FloatLanes lanes) {
  typedef uint16_t Halves __attribute__((vector_size(16)));
  typedef uint32_t Words __attribute__((vector_size(32)));
  Words words;
  std::memcpy(&words, &lanes, sizeof(words));
  const Words rounded = (words + 0x7FFFu + ((words >> 16) & 1u)) >> 16;
  const Words quiet = (words >> 16) | 0x40u;
  const Halves halves = __builtin_convertvector(lanes == lanes ? rounded : quiet, Halves);
  std::memcpy(target, &halves, sizeof(halves));
}

// The first n < kLanes<A> numbers; the other lanes are `fill`.
template <typename T, typename L>
inline void load_first(const T* source, int64_t n, T fill, L& lanes) {
  T buffer[sizeof(L) / sizeof(lanes[0])];
  for (T& value : buffer) value = fill;
  std::memcpy(buffer, source, n * sizeof(T));
  load(buffer, lanes);
}
template <typename T, typename L>
inline void store_first(T* target, int64_t n, L lanes) {
  T buffer[sizeof(L) / sizeof(lanes[0])];
  store(buffer, lanes);
  std::memcpy(target, buffer, n * sizeof(T));
}

inline float sum(FloatLanes v) {
  return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]));
}
inline double sum(DoubleLanes v) {
  return (v[0] + v[2]) + (v[1] + v[3]);
}

template <typename L>
inline L maximum(L a, L b) {
  return a > b ? a : b;
}
template <typename L>
inline auto maximum(L lanes) {
  auto result = lanes[0];
  for (size_t i = 1; i < sizeof(L) / sizeof(result); ++i) result = result > lanes[i] ? result : lanes[i];
  return result;
}

// e^x within 2 ulp for x ≤ 88; below −87 it is 0. Range reduction by n·ln 2 in two parts (Cody and Waite), then the
// Taylor polynomial of degree 7 on |r| ≤ ln 2 / 2, whose remainder is below 6e-9 relative.
inline FloatLanes exp(FloatLanes x) {
  typedef int32_t Ints __attribute__((vector_size(32)));
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

inline DoubleLanes exp(DoubleLanes x) {
  for (int i = 0; i < 4; ++i) x[i] = std::exp(x[i]);
  return x;
}

}  // namespace switchyard
