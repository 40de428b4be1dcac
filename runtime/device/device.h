// Where a rank's tensors live. CUDA is part of the interfaces and a build can see the devices (cuda.h), but until there
// is an NCCL communicator every rank computes on the CPU.
#pragma once

#include <string_view>

#include <absl/status/statusor.h>
#include <c10/core/Device.h>

namespace switchyard {

// Local. `wanted`: auto, cpu or cuda. auto is the CPU. kUnavailable for cuda, saying which devices the host has;
// kBadConfig for any other word.
absl::StatusOr<c10::Device> choose_device(std::string_view wanted);

}  // namespace switchyard
