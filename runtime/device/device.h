// Where a rank's tensors live.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/statusor.h>
#include <c10/core/Device.h>

namespace switchyard {

struct ChosenDevice {
  c10::Device device = c10::kCPU;
  std::string description = "cpu";  // "cuda:1 NVIDIA H100 80GB HBM3, 79 GiB"
  std::string id;                   // of a CUDA device: no other device anywhere has it
};

// Local. `wanted`: auto, cpu or cuda; auto is a CUDA device where this build and this host have one, else the CPU. The
// `local_rank`-th rank of a host takes the device with that index, counted around where there are fewer: two ranks on
// one device are refused when the ranks meet (launch/start). Binds the process to the device. kUnavailable for cuda,
// saying what is missing; kBadConfig for any other word.
absl::StatusOr<ChosenDevice> choose_device(std::string_view wanted, int local_rank);

// The host waits for everything queued on this process's device; for the CPU there is nothing.
void synchronise(c10::Device device);

}  // namespace switchyard
