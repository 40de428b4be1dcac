#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>

#include "layers/ops/rms_norm.h"
#include "runtime/base/check.h"
#include "runtime/numerics/lanes.h"

namespace switchyard::rms_norm_kernel {
namespace {

template <typename L, typename T, typename A>
SY_KERNEL A forward_row(const T* x, const A* weight, int64_t width, double epsilon, T* y) {
  constexpr int64_t kStep = kLanes<L>;
  const int64_t even = width - width % kStep;
  L v, w, squares{};
  for (int64_t d = 0; d < even; d += kStep) {
    load(x + d, v);
    squares += v * v;
  }
  A total = sum(squares);
  for (int64_t d = even; d < width; ++d) total += static_cast<A>(x[d]) * static_cast<A>(x[d]);
  const A inverse = A{1} / std::sqrt(total / static_cast<A>(width) + static_cast<A>(epsilon));
  for (int64_t d = 0; d < even; d += kStep) {
    load(x + d, v);
    load(weight + d, w);
    store(y + d, v * inverse * w);
  }
  for (int64_t d = even; d < width; ++d) y[d] = static_cast<T>(static_cast<A>(x[d]) * inverse * weight[d]);
  return inverse;
}

// dx = r·(g·w − x·r²·mean(g·w·x)); dw += g·x·r.
template <typename L, typename T, typename A>
SY_KERNEL void backward_row(const T* g, const T* x, const A* weight, A inverse, int64_t width, T* dx, A* dweight) {
  constexpr int64_t kStep = kLanes<L>;
  const int64_t even = width - width % kStep;
  L gv, xv, w, dw, products{};
  for (int64_t d = 0; d < even; d += kStep) {
    load(g + d, gv);
    load(x + d, xv);
    load(weight + d, w);
    load(dweight + d, dw);
    const L gx = gv * xv;
    products += gx * w;
    store(dweight + d, dw + gx * inverse);
  }
  A total = sum(products);
  for (int64_t d = even; d < width; ++d) {
    const A gx = static_cast<A>(g[d]) * static_cast<A>(x[d]);
    total += gx * weight[d];
    dweight[d] += gx * inverse;
  }
  const A along = inverse * inverse * inverse * total / static_cast<A>(width);
  for (int64_t d = 0; d < even; d += kStep) {
    load(g + d, gv);
    load(x + d, xv);
    load(weight + d, w);
    store(dx + d, gv * w * inverse - xv * along);
  }
  for (int64_t d = even; d < width; ++d) {
    dx[d] = static_cast<T>(static_cast<A>(g[d]) * weight[d] * inverse - static_cast<A>(x[d]) * along);
  }
}

// Rows a block of the weight's gradient: a function of the number of rows alone, so that threads change no bits.
int64_t block_rows(int64_t rows) {
  return std::max<int64_t>(64, (rows + 63) / 64);
}

}  // namespace

at::Tensor forward(const at::Tensor& x_TD, const at::Tensor& weight_D, double epsilon, at::Tensor& inverse_T) {
  at::Tensor y_TD = at::empty_like(x_TD);
  const int64_t rows = inverse_T.numel(), width = weight_D.numel();
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, x_TD.scalar_type(), "rms_norm", [&] {
    using A = at::opmath_type<scalar_t>;
    const scalar_t* x = x_TD.const_data_ptr<scalar_t>();
    const A* weight = weight_D.const_data_ptr<A>();
    scalar_t* y = y_TD.mutable_data_ptr<scalar_t>();
    A* inverse = inverse_T.mutable_data_ptr<A>();
    at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
      with_wide_registers([&](auto registers) __attribute__((always_inline)) {
        for (int64_t t = begin; t < end; ++t) {
          inverse[t] = forward_row<Lanes<A, decltype(registers)>>(x + t * width, weight, width, epsilon, y + t * width);
        }
      });
    });
  });
  return y_TD;
}

at::Tensor backward(const at::Tensor& g_TD, const at::Tensor& x_TD, const at::Tensor& weight_D,
                    const at::Tensor& inverse_T, const at::Tensor& dweight_D) {
  SY_CHECK(dweight_D.defined());
  at::Tensor dx_TD = at::empty_like(x_TD);
  const int64_t rows = inverse_T.numel(), width = weight_D.numel();
  const int64_t block = block_rows(rows), blocks = (rows + block - 1) / block;
  const at::Tensor parts_ND = at::zeros({blocks, width}, weight_D.options());
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, x_TD.scalar_type(), "rms_norm_backward", [&] {
    using A = at::opmath_type<scalar_t>;
    const scalar_t* g = g_TD.const_data_ptr<scalar_t>();
    const scalar_t* x = x_TD.const_data_ptr<scalar_t>();
    const A* weight = weight_D.const_data_ptr<A>();
    const A* inverse = inverse_T.const_data_ptr<A>();
    scalar_t* dx = dx_TD.mutable_data_ptr<scalar_t>();
    A* parts = parts_ND.mutable_data_ptr<A>();
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      with_wide_registers([&](auto registers) __attribute__((always_inline)) {
        for (int64_t t = begin * block; t < std::min(rows, end * block); ++t) {
          backward_row<Lanes<A, decltype(registers)>>(g + t * width, x + t * width, weight, inverse[t], width,
                                                      dx + t * width, parts + t / block * width);
        }
      });
    });
    A* dweight = dweight_D.mutable_data_ptr<A>();
    for (int64_t n = 0; n < blocks; ++n) {
      for (int64_t d = 0; d < width; ++d) dweight[d] += parts[n * width + d];
    }
  });
  return dx_TD;
}

}  // namespace switchyard::rms_norm_kernel
