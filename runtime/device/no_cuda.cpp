#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/device/cuda.h"
#include "runtime/device/stream_clock.h"

namespace switchyard {
namespace {

absl::Status no_cuda() {
  return error(ErrorCategory::kUnavailable, "this build has no CUDA");
}

}  // namespace

absl::StatusOr<std::vector<CudaDevice>> cuda_devices() {
  return no_cuda();
}

absl::Status use_cuda_device(int /*index*/) {
  return no_cuda();
}

// Tensors on a device do not exist here.
CudaStream current_cuda_stream() {
  check_failed(__FILE__, __LINE__, "this build has no CUDA");
}

void synchronise_cuda() {
  check_failed(__FILE__, __LINE__, "this build has no CUDA");
}

int64_t peak_cuda_bytes() {
  check_failed(__FILE__, __LINE__, "this build has no CUDA");
}

std::unique_ptr<StreamClock> make_cuda_stream_clock() {
  check_failed(__FILE__, __LINE__, "this build has no CUDA");
}

}  // namespace switchyard
