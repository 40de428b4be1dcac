#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>

#include "layers/ops/rope.h"
#include "runtime/numerics/lanes.h"

namespace switchyard::rope_kernel {
namespace {

// (a, b) ← (a·cos − b·sin, b·cos + a·sin), with sin negated for the inverse.
template <typename L, typename T, typename A>
SY_KERNEL void turn_head(T* head, const A* cosines, const A* sines, int64_t half, A sign) {
  constexpr int64_t kStep = kLanes<L>;
  const int64_t even = half - half % kStep;
  L a, b, c, s;
  for (int64_t i = 0; i < even; i += kStep) {
    load(head + i, a);
    load(head + half + i, b);
    load(cosines + i, c);
    load(sines + i, s);
    s *= sign;
    store(head + i, a * c - b * s);
    store(head + half + i, b * c + a * s);
  }
  for (int64_t i = even; i < half; ++i) {
    const A x = head[i], y = head[half + i], sine = sign * sines[i];
    head[i] = static_cast<T>(x * cosines[i] - y * sine);
    head[half + i] = static_cast<T>(y * cosines[i] + x * sine);
  }
}

}  // namespace

at::Tensor table(int64_t positions, int64_t head_width, double theta, at::ScalarType dtype) {
  at::Tensor table_PC = at::empty({positions, head_width}, at::TensorOptions(dtype));
  const int64_t half = head_width / 2;
  std::vector<double> frequencies(half);
  for (int64_t i = 0; i < half; ++i) frequencies[i] = std::pow(theta, -2.0 * i / head_width);
  AT_DISPATCH_FLOATING_TYPES(dtype, "rope_table", [&] {
    scalar_t* out = table_PC.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, positions, 64, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        for (int64_t i = 0; i < half; ++i) {
          out[p * head_width + i] = static_cast<scalar_t>(std::cos(p * frequencies[i]));
          out[p * head_width + half + i] = static_cast<scalar_t>(std::sin(p * frequencies[i]));
        }
      }
    });
  });
  return table_PC;
}

void turn(const at::Tensor& x_TX, const at::Tensor& positions_T, const at::Tensor& table_PC, int64_t heads,
          bool inverse) {
  const int64_t rows = x_TX.size(0), stride = x_TX.size(1), width = table_PC.size(1);
  const int64_t* positions = positions_T.const_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, x_TX.scalar_type(), "rope", [&] {
    using A = at::opmath_type<scalar_t>;
    scalar_t* x = x_TX.mutable_data_ptr<scalar_t>();
    const A* angles = table_PC.const_data_ptr<A>();
    at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
      with_wide_registers([&](auto registers) __attribute__((always_inline)) {
        for (int64_t t = begin; t < end; ++t) {
          const A* row = angles + positions[t] * width;
          for (int64_t h = 0; h < heads; ++h) {
            turn_head<Lanes<A, decltype(registers)>>(x + t * stride + h * width, row, row + width / 2, width / 2,
                                                     inverse ? A{-1} : A{1});
          }
        }
      });
    });
  });
}

}  // namespace switchyard::rope_kernel
