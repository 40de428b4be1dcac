// Which device each rank computes on.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "runtime/comm/communicator.h"
#include "runtime/device/device.h"

namespace switchyard {

struct RankDevice {
  std::string host;
  std::string description;  // as ChosenDevice has it
  std::string id;           // empty: the CPU
};

// Local. kUnavailable where two ranks have one device, or some ranks a device and others none; by rank.
absl::Status check_devices(const std::vector<RankDevice>& ranks);

// Collective. Ranks of a host take its devices in turn (choose_device), and all check the result. Errors are agreed.
absl::StatusOr<ChosenDevice> choose_rank_device(std::string_view wanted, Communicator& world);

// Collective. What the mesh is to be made of: null, meaning `world` itself, for the CPU, and a communicator of device
// tensors over `world`, which it borrows, for CUDA. Errors are agreed.
absl::StatusOr<std::unique_ptr<Communicator>> connect_devices(const ChosenDevice& device, Communicator& world,
                                                              absl::Duration timeout);

}  // namespace switchyard
