// What the CUDA runtime knows of this host. The only header that stands for CUDA: no_cuda.cpp takes the place of
// cuda.cpp in a build without SWITCHYARD_CUDA.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace switchyard {

struct CudaDevice {
  std::string name;
  int64_t memory_bytes;  // of the whole device
};

// Local. The devices that this process may use, by index; empty where there is none. Makes no context on a device.
// kUnavailable where the build lacks CUDA or the driver does not answer.
absl::StatusOr<std::vector<CudaDevice>> cuda_devices();

}  // namespace switchyard
