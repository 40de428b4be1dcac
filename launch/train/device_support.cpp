#include "launch/train/device_support.h"

#include <string>

#include <absl/strings/str_cat.h>

#include "layers/moe/router/make_router.h"
#include "runtime/base/status.h"

namespace switchyard {

absl::Status check_device_support(const MoeConfig& moe, c10::Device device) {
  if (device.is_cpu() || moe.experts == 0) return absl::OkStatus();
  const std::string key = beyond_fused_kernel(moe.router);
  if (key.empty()) return absl::OkStatus();
  return error(ErrorCategory::kBadConfig,
               absl::StrCat("model.moe.router.", key,
                            " asks for routing that only the CPU does; leave the key out, or give run.device=cpu"));
}

}  // namespace switchyard
