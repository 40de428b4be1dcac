// Vectorized takes its width from these two; the library is compiled for x86-64-v3.
#define CPU_CAPABILITY AVX2
#define CPU_CAPABILITY_AVX2

#include <algorithm>
#include <array>
#include <numbers>
#include <tuple>
#include <type_traits>

#include <ATen/Parallel.h>
#include <ATen/cpu/vec/vec.h>

#include "layers/ops/activation_kernel.h"

namespace switchyard {
namespace {

using at::vec::fmadd;
using at::vec::Vectorized;

constexpr int64_t kPack = 16;              // values handled at a time: one 256-bit vector of bf16
constexpr int64_t kGrainValues = 1 << 15;  // values that are worth a thread

// kPack values in the type they are computed in. Tails go through the same lanes, so that bits do not depend on where
// in a row a value stands.
template <typename T>
struct Pack {
  using Compute = std::conditional_t<std::is_same_v<T, at::BFloat16>, float, T>;
  using Lane = Vectorized<Compute>;
  static constexpr int64_t kLanes = kPack / Lane::size();
  std::array<Lane, kLanes> lanes;

  static Pack load(const T* from, int64_t count) {
    if (count < kPack) {
      alignas(64) T padded[kPack] = {};
      std::copy_n(from, count, padded);
      return load(padded, kPack);
    }
    Pack pack;
    if constexpr (std::is_same_v<T, at::BFloat16>) {
      std::tie(pack.lanes[0], pack.lanes[1]) = at::vec::convert_bfloat16_float(Vectorized<T>::loadu(from));
    } else {
      for (int64_t i = 0; i < kLanes; ++i) pack.lanes[i] = Lane::loadu(from + i * Lane::size());
    }
    return pack;
  }

  void store(T* to, int64_t count) const {
    if (count < kPack) {
      alignas(64) T padded[kPack];
      store(padded, kPack);
      std::copy_n(padded, count, to);
    } else if constexpr (std::is_same_v<T, at::BFloat16>) {
      at::vec::convert_float_bfloat16(lanes[0], lanes[1]).store(to);
    } else {
      for (int64_t i = 0; i < kLanes; ++i) lanes[i].store(to + i * Lane::size());
    }
  }
};

Vectorized<double> exponential(const Vectorized<double>& x) {
  return x.exp();
}

// e^x within 2 ulp for |x| ≤ 87, saturating beyond: twice as fast as the library's call. x = n·ln 2 + r with ln 2 in
// two parts, then the polynomial of Cephes' expf on |r| ≤ ln 2 / 2.
Vectorized<float> exponential(const Vectorized<float>& x) {
  using V = Vectorized<float>;
  const V bounded = at::vec::clamp(x, V(-87.0f), V(87.0f));
  const V n = (bounded * V(std::numbers::log2e_v<float>)).round();
  const V r = fmadd(n, V(2.12194440e-4f), fmadd(n, V(-0.693359375f), bounded));
  V p = fmadd(V(1.9875691500e-4f), r, V(1.3981999507e-3f));
  p = fmadd(p, r, V(8.3334519073e-3f));
  p = fmadd(p, r, V(4.1665795894e-2f));
  p = fmadd(p, r, V(1.6666665459e-1f));
  p = fmadd(p, r, V(5.0000001201e-1f));
  p = fmadd(p * r, r, r + V(1.0f));
  const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  return V(_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent)));
}

// The sources of one vector and what a backward makes of them; `up` and `d_up` only where kGated.
template <typename V>
struct Gradient {
  V d_gate, d_up, value;
};

template <typename V>
struct Swiglu {
  static constexpr bool kGated = true;
  static V value(const V& gate, const V& up) { return gate * sigmoid(gate) * up; }
  static Gradient<V> gradient(const V& gate, const V& up, const V& g) {
    const V s = sigmoid(gate);
    const V silu = gate * s;
    return {g * up * (s + silu * (V(1) - s)), g * silu, silu * up};
  }
  static V sigmoid(const V& x) { return V(1) / (V(1) + exponential(x.neg())); }
};

template <typename V>
struct Gelu {
  static constexpr bool kGated = false;
  static V value(const V& x, const V&) { return x * distribution(x); }
  static Gradient<V> gradient(const V& x, const V&, const V& g) {
    const V cdf = distribution(x);
    const V density = exponential(x * x * V(-0.5)) * V(0.5 * std::numbers::inv_sqrtpi * std::numbers::sqrt2);
    return {g * (cdf + x * density), V(0), x * cdf};
  }
  static V distribution(const V& x) { return V(0.5) * (V(1) + (x * V(0.5 * std::numbers::sqrt2)).erf()); }
};

template <typename V>
struct Relu {
  static constexpr bool kGated = false;
  static V value(const V& x, const V&) { return at::vec::maximum(x, V(0)); }
  static Gradient<V> gradient(const V& x, const V&, const V& g) {
    return {V::blendv(g, V(0), x <= V(0)), V(0), value(x, x)};
  }
};

// work(row, column, count) over every pack of the rows.
template <typename Work>
void for_each_pack(int64_t rows, int64_t width, const Work& work) {
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrainValues / std::max<int64_t>(1, width)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t r = begin; r < end; ++r) {
                       for (int64_t c = 0; c < width; c += kPack) work(r, c, std::min(kPack, width - c));
                     }
                   });
}

template <template <typename> typename Kind, typename T>
void forward_rows(int64_t rows, int64_t width, Rows<const T> h, Rows<T> out) {
  using F = Kind<typename Pack<T>::Lane>;
  for_each_pack(rows, width, [&](int64_t r, int64_t c, int64_t count) {
    const auto gate = Pack<T>::load(h.row(r) + c, count);
    const auto up = F::kGated ? Pack<T>::load(h.row(r) + width + c, count) : gate;
    Pack<T> value;
    for (int64_t i = 0; i < Pack<T>::kLanes; ++i) value.lanes[i] = F::value(gate.lanes[i], up.lanes[i]);
    value.store(out.row(r) + c, count);
  });
}

template <template <typename> typename Kind, typename T>
void backward_rows(int64_t rows, int64_t width, Rows<const T> h, Rows<const T> g, Rows<T> d, Rows<T> out) {
  using F = Kind<typename Pack<T>::Lane>;
  for_each_pack(rows, width, [&](int64_t r, int64_t c, int64_t count) {
    const auto gate = Pack<T>::load(h.row(r) + c, count);
    const auto up = F::kGated ? Pack<T>::load(h.row(r) + width + c, count) : gate;
    const auto gradient = Pack<T>::load(g.row(r) + c, count);
    Pack<T> d_gate, d_up, value;
    for (int64_t i = 0; i < Pack<T>::kLanes; ++i) {
      const auto all = F::gradient(gate.lanes[i], up.lanes[i], gradient.lanes[i]);
      d_gate.lanes[i] = all.d_gate;
      d_up.lanes[i] = all.d_up;
      value.lanes[i] = all.value;
    }
    d_gate.store(d.row(r) + c, count);
    if (F::kGated) d_up.store(d.row(r) + width + c, count);
    if (out.data) value.store(out.row(r) + c, count);
  });
}

}  // namespace

template <typename T>
void activation_forward_rows(Activation activation, int64_t rows, int64_t width, Rows<const T> h, Rows<T> out) {
  switch (activation) {
    case Activation::kSwiglu:
      return forward_rows<Swiglu, T>(rows, width, h, out);
    case Activation::kGelu:
      return forward_rows<Gelu, T>(rows, width, h, out);
    case Activation::kRelu:
      return forward_rows<Relu, T>(rows, width, h, out);
  }
}

template <typename T>
void activation_backward_rows(Activation activation, int64_t rows, int64_t width, Rows<const T> h, Rows<const T> g,
                              Rows<T> d, Rows<T> out) {
  switch (activation) {
    case Activation::kSwiglu:
      return backward_rows<Swiglu, T>(rows, width, h, g, d, out);
    case Activation::kGelu:
      return backward_rows<Gelu, T>(rows, width, h, g, d, out);
    case Activation::kRelu:
      return backward_rows<Relu, T>(rows, width, h, g, d, out);
  }
}

template void activation_forward_rows(Activation, int64_t, int64_t, Rows<const at::BFloat16>, Rows<at::BFloat16>);
template void activation_forward_rows(Activation, int64_t, int64_t, Rows<const float>, Rows<float>);
template void activation_forward_rows(Activation, int64_t, int64_t, Rows<const double>, Rows<double>);
template void activation_backward_rows(Activation, int64_t, int64_t, Rows<const at::BFloat16>, Rows<const at::BFloat16>,
                                       Rows<at::BFloat16>, Rows<at::BFloat16>);
template void activation_backward_rows(Activation, int64_t, int64_t, Rows<const float>, Rows<const float>, Rows<float>,
                                       Rows<float>);
template void activation_backward_rows(Activation, int64_t, int64_t, Rows<const double>, Rows<const double>,
                                       Rows<double>, Rows<double>);

}  // namespace switchyard
