// Takes the place of the kernels in a build without SWITCHYARD_CUDA, where no tensor is on a device.
#include "layers/moe/router/softmax_top_k_cuda.h"
#include "layers/ops/activation_cuda.h"
#include "layers/ops/cross_entropy_cuda.h"
#include "layers/ops/embedding_cuda.h"
#include "layers/ops/matmul_cublas.h"
#include "layers/ops/rms_norm_cuda.h"
#include "layers/ops/rope_cuda.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

[[noreturn]] void absent() {
  check_failed(__FILE__, __LINE__, "this build has no CUDA kernels");
}

}  // namespace

void activation_forward_cuda(Activation, Element, int64_t, int64_t, CudaRows, CudaRows, CudaStream) {
  absent();
}
void activation_backward_cuda(Activation, Element, int64_t, int64_t, CudaRows, CudaRows, CudaRows, CudaRows,
                              CudaStream) {
  absent();
}
void cross_entropy_rows_cuda(const CudaLogits&, void*, void*, void*, CudaStream) {
  absent();
}
void cross_entropy_gradient_cuda(const CudaLogits&, const void*, const void*, double, CudaStream) {
  absent();
}
void embedding_forward_cuda(int64_t, int64_t, int64_t, int64_t, const int64_t*, const void*, void*, CudaStream) {
  absent();
}
void embedding_backward_cuda(Element, int64_t, int64_t, int64_t, int64_t, const int64_t*, const int64_t*, const void*,
                             void*, CudaStream) {
  absent();
}
void rms_norm_forward_cuda(Element, int64_t, int64_t, double, const void*, const void*, void*, void*, CudaStream) {
  absent();
}
int64_t rms_norm_parts(int64_t) {
  absent();
}
void rms_norm_backward_cuda(Element, int64_t, int64_t, const void*, const void*, const void*, const void*, void*, void*,
                            void*, CudaStream) {
  absent();
}
void rope_turn_cuda(Element, int64_t, int64_t, int64_t, int64_t, double, bool, void*, const int64_t*, CudaStream) {
  absent();
}
void cublas_product(const CudaProduct&, const void*, const void*, void*) {
  absent();
}
void cublas_grouped_product(const CudaProduct&, std::span<const CudaGroup>) {
  absent();
}
void softmax_top_k_cuda(const CudaTopK&, bool, const void*, const void*, int64_t*, void*, void*, void*, CudaStream) {
  absent();
}
void softmax_top_k_backward_cuda(const CudaTopK&, const void*, const int64_t*, const void*, const void*, const void*,
                                 const void*, double, void*, CudaStream) {
  absent();
}

}  // namespace switchyard
