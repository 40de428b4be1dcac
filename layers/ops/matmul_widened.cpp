#include "layers/ops/matmul_widened.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace switchyard {
namespace {

// Enough for fp32 products to be fast, and few enough for parts to stay in the caches, or at least not to fill memory.
constexpr int64_t kRows = 512, kLeastColumns = 64, kMostNumbers = 4 << 20;

void multiply(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b_fp32, const MatmulOptions& options) {
  const at::Tensor a_fp32 = a.to(at::kFloat);
  if (out.scalar_type() == at::kFloat) return matmul(out, a_fp32, b_fp32, options);
  const at::Tensor sums =
      options.accumulate ? out.to(at::kFloat) : at::empty(out.sizes(), out.options().dtype(at::kFloat));
  matmul(sums, a_fp32, b_fp32, options);
  out.copy_(sums);
}

template <typename Body>
void in_parts(int64_t all, int64_t most, Body&& body) {
  for (int64_t begin = 0; begin < all; begin += most) body(begin, std::min(most, all - begin));
}

}  // namespace

void widened_product(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b, const MatmulOptions& options) {
  if (!options.transpose_a) {
    const int64_t most = std::max(kLeastColumns, kMostNumbers / a.size(1));
    in_parts(out.size(1), most, [&](int64_t column, int64_t columns) {
      const at::Tensor b_fp32 = b.narrow(options.transpose_b ? 0 : 1, column, columns).to(at::kFloat);
      in_parts(a.size(0), kRows, [&](int64_t row, int64_t rows) {
        multiply(out.narrow(0, row, rows).narrow(1, column, columns), a.narrow(0, row, rows), b_fp32, options);
      });
    });
    return;
  }
  // A sum in parts is rounded once only where it is fp32.
  if (options.transpose_b || out.scalar_type() != at::kFloat) return multiply(out, a, b.to(at::kFloat), options);
  MatmulOptions part = options;
  in_parts(a.size(0), kRows, [&](int64_t begin, int64_t rows) {
    multiply(out, a.narrow(0, begin, rows), b.narrow(0, begin, rows).to(at::kFloat), part);
    part.accumulate = true;
  });
}

}  // namespace switchyard
