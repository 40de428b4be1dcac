#include "runtime/device/device.h"

#include <absl/strings/str_cat.h>

#include "runtime/base/status.h"
#include "runtime/device/cuda.h"
#include "runtime/device/stream_clock.h"

namespace switchyard {

absl::StatusOr<ChosenDevice> choose_device(std::string_view wanted, int local_rank) {
  if (wanted != "auto" && wanted != "cpu" && wanted != "cuda") {
    return error(ErrorCategory::kBadConfig,
                 absl::StrCat("run.device: '", std::string(wanted), "' is none of auto, cpu, cuda"));
  }
  if (wanted == "cpu") return ChosenDevice{};
  const auto devices = cuda_devices();
  if (!devices.ok() || devices->empty()) {
    if (wanted == "auto") return ChosenDevice{};
    return error(ErrorCategory::kUnavailable,
                 absl::StrCat("run.device: cuda: ",
                              devices.ok() ? "this host has no CUDA device" : std::string(devices.status().message()),
                              "; use auto or cpu, or a build with the preset cuda-release on a host with a device"));
  }
  const int index = local_rank % static_cast<int>(devices->size());
  const CudaDevice& device = (*devices)[index];
  SY_RETURN_IF_ERROR(annotate(use_cuda_device(index), absl::StrCat("run.device: cuda:", index)));
  return ChosenDevice{
      .device = c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index)),
      .description = absl::StrCat("cuda:", index, " ", device.name, ", ", device.memory_bytes >> 30, " GiB"),
      .id = device.id};
}

void synchronise(c10::Device device) {
  if (device.is_cuda()) synchronise_cuda();
}

std::unique_ptr<StreamClock> make_stream_clock(c10::Device device) {
  return device.is_cuda() ? make_cuda_stream_clock() : nullptr;
}

}  // namespace switchyard
