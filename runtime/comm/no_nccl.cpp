#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/cuda_queue.h"
#include "runtime/comm/nccl.h"

namespace switchyard {

absl::StatusOr<std::unique_ptr<Communicator>> make_nccl_world(Communicator& /*host*/, absl::Duration /*timeout*/) {
  return error(ErrorCategory::kUnavailable, "this build has no NCCL");
}

std::unique_ptr<DeviceQueue> make_cuda_queue() {
  check_failed(__FILE__, __LINE__, "this build has no CUDA");
}

}  // namespace switchyard
