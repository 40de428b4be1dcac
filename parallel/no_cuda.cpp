// Takes the place of the kernels in a build without SWITCHYARD_CUDA, where no tensor is on a device.
#include "parallel/dispatch/permute_cuda.h"
#include "parallel/optimizer/adamw_cuda.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

[[noreturn]] void absent() {
  check_failed(__FILE__, __LINE__, "this build has no CUDA kernels");
}

}  // namespace

void count_slots_cuda(int64_t, int64_t, const int64_t*, int64_t*, int64_t*, CudaStream) {
  absent();
}
void index_slots_cuda(int64_t, int64_t, int64_t, const int64_t*, const int64_t*, const RowStart*, int64_t*, int64_t*,
                      CudaStream) {
  absent();
}
void spread_rows_cuda(const CudaSlots&, int64_t, const void*, void*, void*, CudaStream) {
  absent();
}
void spread_weighted_rows_cuda(const CudaSlots&, Element, int64_t, const void*, const void*, const void*, void*, void*,
                               void*, CudaStream) {
  absent();
}
void sum_rows_cuda(const CudaSlots&, Element, int64_t, const void*, const void*, void*, CudaStream) {
  absent();
}
void copy_segments_cuda(int64_t, const int64_t*, int64_t, const void*, void*, CudaStream) {
  absent();
}
void adamw_update_cuda(Element, const AdamWFactors&, const CudaShard*, int64_t, CudaStream) {
  absent();
}

}  // namespace switchyard
