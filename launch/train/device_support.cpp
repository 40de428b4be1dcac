#include "launch/train/device_support.h"

#include "layers/moe/router/make_router.h"
#include "runtime/base/status.h"

namespace switchyard {

absl::Status check_device_support(const MoeConfig& moe, c10::Device device) {
  if (device.is_cpu() || moe.experts == 0 || has_fused_kernel(moe.router)) return absl::OkStatus();
  return error(ErrorCategory::kBadConfig,
               "on CUDA devices model.moe.router takes kind: softmax with a linear gate and balance.over: population "
               "alone, without capacity, jitter, bias_rate, importance_loss or entropy_loss; give run.device=cpu to "
               "route otherwise");
}

}  // namespace switchyard
