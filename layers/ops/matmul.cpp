#include "layers/ops/matmul.h"

#include <algorithm>
#include <optional>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "layers/ops/matmul_backends.h"
#include "layers/ops/matmul_cublas.h"
#include "layers/ops/matmul_widened.h"
#include "runtime/base/check.h"
#include "runtime/device/cuda.h"
#include "runtime/numerics/lanes.h"

namespace switchyard {
namespace {

void check_row_major(const at::Tensor& tensor) {
  SY_CHECK_EQ(tensor.dim(), 2);
  SY_CHECK(tensor.size(1) <= 1 || tensor.stride(1) == 1);
  SY_CHECK(tensor.size(0) <= 1 || tensor.stride(0) >= tensor.size(1));
}

// The stride of one row is free in ATen; products want a plausible one.
int64_t leading(const at::Tensor& tensor) {
  return std::max(tensor.size(0) > 1 ? tensor.stride(0) : 1, tensor.size(1));
}

std::optional<ProductType> product_type(at::ScalarType in, at::ScalarType out) {
  if (in == at::kFloat && out == at::kFloat) return ProductType::kFp32;
  if (in == at::kBFloat16 && out == at::kBFloat16) return ProductType::kBf16;
  if (in == at::kBFloat16 && out == at::kFloat) return ProductType::kBf16ToFp32;
  SY_CHECK(in == at::kDouble && out == at::kDouble);
  return std::nullopt;
}

// Products by our AMX tiles beside oneDNN's, on a Xeon whose core is quiet: fp32 ones 1.3 to 1.7 times as fast
// (attention's small ones 0.8 to 1.5 times), weight gradients of bf16 twice, other bf16 ones 1.3 to 1.6 times where
// rows come from memory and not from a cache. With a longer inner dimension they were slower, and fewer rows do not pay
// for packing b. A fixed rule, so that bits do not depend on timing; those of bf16 differ between few rows and many.
bool tiles_are_faster(const Product& p) {
  constexpr int64_t kLongestInner = 2048, kFewestRows = 64;
  return amx_takes(p) && (p.type != ProductType::kBf16 || (p.k <= kLongestInner && p.m >= kFewestRows));
}

// Threads share the rows, which changes no bits.
void tiles_product(const Product& p, const at::Tensor& a, const at::Tensor& b, at::Tensor& out, bool passing) {
  constexpr int64_t kGrainRows = 128;
  const int64_t a_bytes = (p.transpose_a ? 1 : p.lda) * a.element_size(), out_bytes = p.ldc * out.element_size();
  const auto* a_data = static_cast<const char*>(a.const_data_ptr());
  auto* out_data = static_cast<char*>(out.mutable_data_ptr());
  at::parallel_for(0, p.m, kGrainRows, [&](int64_t begin, int64_t end) {
    Product part = p;
    part.m = end - begin;
    amx_product(part, a_data + begin * a_bytes, b.const_data_ptr(), out_data + begin * out_bytes, passing);
  });
}

void aten_product(at::Tensor& out, at::Tensor a, at::Tensor b, bool accumulate) {
  if (a.scalar_type() != out.scalar_type()) {
    a = a.to(out.scalar_type());
    b = b.to(out.scalar_type());
  }
  if (accumulate) {
    at::addmm_out(out, out, a, b);
  } else {
    at::mm_out(out, a, b);
  }
}

}  // namespace

void matmul(at::Tensor out, const at::Tensor& a, const at::Tensor& b, const MatmulOptions& options) {
  check_row_major(out);
  check_row_major(a);
  check_row_major(b);
  const int64_t m = out.size(0), n = out.size(1), k = a.size(options.transpose_a ? 0 : 1);
  SY_CHECK_EQ(a.size(options.transpose_a ? 1 : 0), m);
  SY_CHECK_EQ(b.size(options.transpose_b ? 1 : 0), k);
  SY_CHECK_EQ(b.size(options.transpose_b ? 0 : 1), n);
  SY_CHECK_EQ(a.scalar_type(), b.scalar_type());
  const std::optional<ProductType> type = product_type(a.scalar_type(), out.scalar_type());
  const at::NoGradGuard no_grad;
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!options.accumulate) out.zero_();
    return;
  }
  if (out.is_cuda()) {
    cublas_product({element_of(a.scalar_type()), element_of(out.scalar_type()), m, n, k, leading(a), leading(b),
                    leading(out), options.transpose_a, options.transpose_b, options.accumulate},
                   a.const_data_ptr(), b.const_data_ptr(), out.mutable_data_ptr());
    return;
  }
  if (type) {
    const Product product{.type = *type,
                          .m = m,
                          .n = n,
                          .k = k,
                          .lda = leading(a),
                          .ldb = leading(b),
                          .ldc = leading(out),
                          .transpose_a = options.transpose_a,
                          .transpose_b = options.transpose_b,
                          .accumulate = options.accumulate};
    if (tiles_are_faster(product)) return tiles_product(product, a, b, out, options.passing);
    if (onednn_product(product, a.const_data_ptr(), b.const_data_ptr(), out.mutable_data_ptr())) return;
    if (*type != ProductType::kFp32 && !has_wide_registers()) return widened_product(out, a, b, options);
  }
  aten_product(out, options.transpose_a ? a.t() : a, options.transpose_b ? b.t() : b, options.accumulate);
}

}  // namespace switchyard
