// What the CUDA runtime knows of this host, and the little that callers of kernels need. The only header that stands
// for CUDA: no_cuda.cpp takes the place of cuda.cpp in a build without SWITCHYARD_CUDA.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <c10/core/ScalarType.h>

#include "runtime/device/cuda_kernel.h"

namespace switchyard {

struct CudaDevice {
  std::string name;
  int64_t memory_bytes;  // of the whole device
  std::string id;        // unlike any other device's, on any host
};

// Local. The devices that this process may use, by index; empty where there is none. Makes no context on a device.
// kUnavailable where the build lacks CUDA or the driver does not answer.
absl::StatusOr<std::vector<CudaDevice>> cuda_devices();

// Binds the calling thread, and with it what LibTorch starts for it, to a device. kUnavailable where it can't be used.
absl::Status use_cuda_device(int index);

// The stream that this thread computes on.
CudaStream current_cuda_stream();

// The host waits for everything queued on this process's device.
void synchronise_cuda();

// Of tensors on this process's device, at most so far.
int64_t peak_cuda_bytes();

// How kernels call a dtype; others than theirs are a bug.
Element element_of(at::ScalarType dtype);

}  // namespace switchyard
