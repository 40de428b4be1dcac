#include "runtime/device/device.h"

#include <string>

#include <absl/strings/str_cat.h>

#include "runtime/base/status.h"

namespace switchyard {

absl::StatusOr<c10::Device> choose_device(std::string_view wanted) {
  if (wanted == "auto" || wanted == "cpu") return c10::Device(c10::kCPU);
  if (wanted == "cuda") {
    return error(ErrorCategory::kUnavailable, "run.device: this build runs on CPUs only; use auto or cpu");
  }
  return error(ErrorCategory::kBadConfig,
               absl::StrCat("run.device: '", std::string(wanted), "' is none of auto, cpu, cuda"));
}

}  // namespace switchyard
