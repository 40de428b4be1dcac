// What a device cannot compute yet.
#pragma once

#include <absl/status/status.h>
#include <c10/core/Device.h>

#include "layers/moe/config.h"

namespace switchyard {

// kBadConfig where the model has a router that routes on the host alone, and `device` is another. Local.
absl::Status check_device_support(const MoeConfig& moe, c10::Device device);

}  // namespace switchyard
