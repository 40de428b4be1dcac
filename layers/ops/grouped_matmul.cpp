#include "layers/ops/grouped_matmul.h"

#include <vector>

#include "layers/ops/matmul.h"
#include "layers/ops/matmul_cublas.h"
#include "runtime/base/check.h"
#include "runtime/device/cuda.h"

namespace switchyard {
namespace {

char* at_row(const at::Tensor& tensor, int64_t index) {
  return static_cast<char*>(tensor.data_ptr()) + index * tensor.stride(0) * static_cast<int64_t>(tensor.element_size());
}

}  // namespace

void grouped_matmul(at::Tensor out_RN, const at::Tensor& x_RK, const at::Tensor& w_EXX, std::span<const int64_t> counts,
                    bool transpose_w) {
  SY_CHECK_EQ(w_EXX.size(0), static_cast<int64_t>(counts.size()));
  SY_CHECK(out_RN.is_contiguous() && x_RK.is_contiguous() && w_EXX.is_contiguous());
  const int64_t n = out_RN.size(1), k = x_RK.size(1);
  if (out_RN.is_cuda() && n > 0 && k > 0) {
    std::vector<CudaGroup> groups;
    for_each_group(counts, [&](int64_t e, int64_t first, int64_t rows) {
      groups.push_back({rows, k, at_row(x_RK, first), at_row(w_EXX, e), at_row(out_RN, first)});
    });
    const Element element = element_of(x_RK.scalar_type());
    const CudaProduct product{element, element, 0, n, 0, k, w_EXX.size(2), n, false, transpose_w, false};
    return cublas_grouped_product(product, groups);
  }
  for_each_group(counts, [&](int64_t e, int64_t first, int64_t rows) {
    matmul(out_RN.narrow(0, first, rows), x_RK.narrow(0, first, rows), w_EXX[e], {.transpose_b = transpose_w});
  });
}

void grouped_weight_gradient(at::Tensor dw_EMN, const at::Tensor& g_RM, const at::Tensor& x_RN,
                             std::span<const int64_t> counts) {
  SY_CHECK_EQ(dw_EMN.size(0), static_cast<int64_t>(counts.size()));
  SY_CHECK(dw_EMN.is_contiguous() && g_RM.is_contiguous() && x_RN.is_contiguous());
  const int64_t m = dw_EMN.size(1), n = dw_EMN.size(2);
  if (g_RM.is_cuda() && m > 0 && n > 0) {
    std::vector<CudaGroup> groups;
    for_each_group(counts, [&](int64_t e, int64_t first, int64_t rows) {
      groups.push_back({m, rows, at_row(g_RM, first), at_row(x_RN, first), at_row(dw_EMN, e)});
    });
    const CudaProduct product{
        element_of(g_RM.scalar_type()), element_of(dw_EMN.scalar_type()), 0, n, 0, m, n, n, true, false, true};
    return cublas_grouped_product(product, groups);
  }
  for_each_group(counts, [&](int64_t e, int64_t first, int64_t rows) {
    matmul(dw_EMN[e], g_RM.narrow(0, first, rows), x_RN.narrow(0, first, rows),
           {.transpose_a = true, .accumulate = true});
  });
}

}  // namespace switchyard
