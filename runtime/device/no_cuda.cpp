#include "runtime/base/status.h"
#include "runtime/device/cuda.h"

namespace switchyard {

absl::StatusOr<std::vector<CudaDevice>> cuda_devices() {
  return error(ErrorCategory::kUnavailable, "this build has no CUDA");
}

}  // namespace switchyard
