#include <cstring>

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>

#include "layers/ops/embedding.h"
#include "runtime/base/check.h"

namespace switchyard::embedding_kernel {

at::Tensor forward(const at::Tensor& tokens_T, const at::Tensor& weight_VD, int64_t vocab_begin) {
  const int64_t rows = tokens_T.numel(), vocab = weight_VD.size(0);
  at::Tensor out_TD = at::empty({rows, weight_VD.size(1)}, weight_VD.options());
  const int64_t* tokens = tokens_T.const_data_ptr<int64_t>();
  const size_t bytes = weight_VD.size(1) * weight_VD.element_size();
  const char* weight = static_cast<const char*>(weight_VD.const_data_ptr());
  char* out = static_cast<char*>(out_TD.mutable_data_ptr());
  at::parallel_for(0, rows, 256, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t local = tokens[t] - vocab_begin;
      if (local >= 0 && local < vocab) {
        std::memcpy(out + t * bytes, weight + local * bytes, bytes);
      } else {
        std::memset(out + t * bytes, 0, bytes);
      }
    }
  });
  return out_TD;
}

// Threads share the columns, so that each sum runs in token order.
void backward(const at::Tensor& g_TD, const at::Tensor& tokens_T, int64_t vocab_begin, const at::Tensor& dweight_VD) {
  SY_CHECK(dweight_VD.defined());
  const int64_t rows = tokens_T.numel(), vocab = dweight_VD.size(0), width = dweight_VD.size(1);
  const int64_t* tokens = tokens_T.const_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, g_TD.scalar_type(), "embedding_backward", [&] {
    using A = at::opmath_type<scalar_t>;
    const scalar_t* g = g_TD.const_data_ptr<scalar_t>();
    A* dweight = dweight_VD.mutable_data_ptr<A>();
    at::parallel_for(0, width, 128, [&](int64_t begin, int64_t end) {
      for (int64_t t = 0; t < rows; ++t) {
        const int64_t local = tokens[t] - vocab_begin;
        if (local < 0 || local >= vocab) continue;
        for (int64_t d = begin; d < end; ++d) dweight[local * width + d] += static_cast<A>(g[t * width + d]);
      }
    });
  });
}

}  // namespace switchyard::embedding_kernel
