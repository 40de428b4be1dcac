#include "runtime/device/device.h"

#include <string>

#include <absl/strings/str_cat.h>

#include "runtime/base/status.h"
#include "runtime/device/cuda.h"

namespace switchyard {
namespace {

// "no CUDA device", "2 CUDA devices (0: NAME, 80 GiB; 1: NAME, 80 GiB)".
std::string describe(const std::vector<CudaDevice>& devices) {
  if (devices.empty()) return "no CUDA device";
  std::string list;
  for (size_t index = 0; index < devices.size(); ++index) {
    absl::StrAppend(&list, index == 0 ? "" : "; ", index, ": ", devices[index].name, ", ",
                    devices[index].memory_bytes >> 30, " GiB");
  }
  return absl::StrCat(devices.size(), devices.size() == 1 ? " CUDA device (" : " CUDA devices (", list, ")");
}

}  // namespace

absl::StatusOr<c10::Device> choose_device(std::string_view wanted) {
  if (wanted == "auto" || wanted == "cpu") return c10::Device(c10::kCPU);
  if (wanted != "cuda") {
    return error(ErrorCategory::kBadConfig,
                 absl::StrCat("run.device: '", std::string(wanted), "' is none of auto, cpu, cuda"));
  }
  const auto devices = cuda_devices();
  const std::string found =
      devices.ok() ? absl::StrCat("this host has ", describe(*devices)) : std::string(devices.status().message());
  return error(
      ErrorCategory::kUnavailable,
      absl::StrCat("run.device: cuda: ", found, ", and training on devices needs the NCCL communicator, which ",
                   "is not part of this version; use auto or cpu"));
}

}  // namespace switchyard
