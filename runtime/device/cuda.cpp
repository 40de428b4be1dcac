#include "runtime/device/cuda.h"

#include <absl/strings/str_cat.h>
#include <cuda_runtime_api.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

absl::Status failed(const char* call, cudaError_t code) {
  return error(ErrorCategory::kUnavailable, absl::StrCat(call, ": ", cudaGetErrorString(code)));
}

}  // namespace

absl::StatusOr<std::vector<CudaDevice>> cuda_devices() {
  int driver = 0, count = 0;
  if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) return std::vector<CudaDevice>{};  // no driver
  const cudaError_t counted = cudaGetDeviceCount(&count);
  if (counted == cudaErrorNoDevice) return std::vector<CudaDevice>{};
  if (counted != cudaSuccess) return failed("cudaGetDeviceCount", counted);
  std::vector<CudaDevice> devices;
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties;
    const cudaError_t read = cudaGetDeviceProperties(&properties, index);
    if (read != cudaSuccess) return failed("cudaGetDeviceProperties", read);
    devices.push_back({properties.name, static_cast<int64_t>(properties.totalGlobalMem)});
  }
  return devices;
}

}  // namespace switchyard
