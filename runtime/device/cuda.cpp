#include "runtime/device/cuda.h"

#include <ATen/cuda/CUDAContextLight.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

absl::Status failed(const char* call, cudaError_t code) {
  return error(ErrorCategory::kUnavailable, absl::StrCat(call, ": ", cudaGetErrorString(code)));
}

std::string hex(const cudaUUID_t& uuid) {
  std::string text;
  for (const char byte : uuid.bytes) absl::StrAppendFormat(&text, "%02x", static_cast<unsigned char>(byte));
  return text;
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
    devices.push_back({properties.name, static_cast<int64_t>(properties.totalGlobalMem), hex(properties.uuid)});
  }
  return devices;
}

absl::Status use_cuda_device(int index) {
  const cudaError_t code = cudaSetDevice(index);
  if (code != cudaSuccess) return failed("cudaSetDevice", code);
  // The first call that needs LibTorch's CUDA half, and a context.
  at::cuda::getCurrentDeviceProperties();
  return absl::OkStatus();
}

CudaStream current_cuda_stream() {
  return c10::cuda::getCurrentCUDAStream().stream();
}

void synchronise_cuda() {
  c10::cuda::device_synchronize();
}

int64_t peak_cuda_bytes() {
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(c10::cuda::current_device());
  return stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
}

}  // namespace switchyard
