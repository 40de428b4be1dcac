// Vectorized, for erf alone, takes its width from these two; the library is compiled for x86-64-v3.
#define CPU_CAPABILITY AVX2
#define CPU_CAPABILITY_AVX2

#include <algorithm>
#include <numbers>

#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <ATen/cpu/vec/vec.h>

#include "layers/ops/activation_kernel.h"
#include "runtime/numerics/lanes.h"

namespace switchyard {
namespace {

constexpr int64_t kGrainValues = 1 << 15;  // values that are worth a thread

template <typename L>
SY_KERNEL L error_function(const L& x) {
  using Number = NumberOf<L>;
  using Vector = at::vec::Vectorized<Number>;
  alignas(64) Number numbers[sizeof(L) / sizeof(Number)];
  store(numbers, x);
  for (Number* part = numbers; part < std::end(numbers); part += Vector::size()) {
    Vector::loadu(part).erf().store(part);
  }
  L result;
  load(numbers, result);
  return result;
}

// The sources of lanes of values and what a backward makes of them; `up` and `d_up` only where kGated.
template <typename L>
struct Gradient {
  L d_gate, d_up, value;
};

template <typename L>
struct Swiglu {
  static constexpr bool kGated = true;
  SY_KERNEL static L value(const L& gate, const L& up) { return gate * sigmoid(gate) * up; }
  SY_KERNEL static Gradient<L> gradient(const L& gate, const L& up, const L& g) {
    const L s = sigmoid(gate);
    const L silu = gate * s;
    return {g * up * (s + silu * (1 - s)), g * silu, silu * up};
  }
  SY_KERNEL static L sigmoid(const L& x) {
    constexpr int kLeast = sizeof(x[0]) == sizeof(float) ? -87 : -700;  // what exp takes
    return 1 / (1 + exp(maximum(x, kLeast - L{}) * -1));
  }
};

template <typename L>
struct Gelu {
  static constexpr bool kGated = false;
  SY_KERNEL static L value(const L& x, const L&) { return x * distribution(x); }
  SY_KERNEL static Gradient<L> gradient(const L& x, const L&, const L& g) {
    using Number = NumberOf<L>;
    constexpr auto kDensity = static_cast<Number>(0.5 * std::numbers::inv_sqrtpi * std::numbers::sqrt2);
    const L cdf = distribution(x);
    const L density = exp(x * x * Number(-0.5)) * kDensity;
    return {g * (cdf + x * density), L{}, x * cdf};
  }
  SY_KERNEL static L distribution(const L& x) {
    using Number = NumberOf<L>;
    return (error_function<L>(x * static_cast<Number>(0.5 * std::numbers::sqrt2)) + 1) * Number(0.5);
  }
};

template <typename L>
struct Relu {
  static constexpr bool kGated = false;
  SY_KERNEL static L value(const L& x, const L&) { return x < 0 ? L{} : x; }
  SY_KERNEL static Gradient<L> gradient(const L& x, const L&, const L& g) {
    return {x <= 0 ? L{} : g, L{}, value(x, x)};
  }
};

// work(registers, row, column, count) over all of the rows, by lanes of A.
template <typename A, typename Work>
void for_each_lanes(int64_t rows, int64_t width, const Work& work) {
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrainValues / std::max<int64_t>(1, width)),
                   [&](int64_t begin, int64_t end) {
                     with_wide_registers([&](auto registers) __attribute__((always_inline)) {
                       constexpr int64_t kStep = kLanes<Lanes<A, decltype(registers)>>;
                       for (int64_t r = begin; r < end; ++r) {
                         for (int64_t c = 0; c < width; c += kStep) work(registers, r, c, std::min(kStep, width - c));
                       }
                     });
                   });
}

template <template <typename> typename Kind, typename T>
void forward_rows(int64_t rows, int64_t width, Rows<const T> h, Rows<T> out) {
  using A = at::opmath_type<T>;
  for_each_lanes<A>(
      rows, width, [&](auto registers, int64_t r, int64_t c, int64_t count) __attribute__((always_inline)) {
        using L = Lanes<A, decltype(registers)>;
        using F = Kind<L>;
        L gate, up;
        load_some(h.row(r) + c, count, gate);
        if constexpr (F::kGated) load_some(h.row(r) + width + c, count, up);
        store_some(out.row(r) + c, count, F::value(gate, F::kGated ? up : gate));
      });
}

template <template <typename> typename Kind, typename T>
void backward_rows(int64_t rows, int64_t width, Rows<const T> h, Rows<const T> g, Rows<T> d, Rows<T> out) {
  using A = at::opmath_type<T>;
  for_each_lanes<A>(
      rows, width, [&](auto registers, int64_t r, int64_t c, int64_t count) __attribute__((always_inline)) {
        using L = Lanes<A, decltype(registers)>;
        using F = Kind<L>;
        L gate, up, gradient;
        load_some(h.row(r) + c, count, gate);
        if constexpr (F::kGated) load_some(h.row(r) + width + c, count, up);
        load_some(g.row(r) + c, count, gradient);
        const Gradient<L> all = F::gradient(gate, F::kGated ? up : gate, gradient);
        store_some(d.row(r) + c, count, all.d_gate);
        if constexpr (F::kGated) store_some(d.row(r) + width + c, count, all.d_up);
        if (out.data) store_some(out.row(r) + c, count, all.value);
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
