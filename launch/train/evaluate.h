// Measuring a checkpoint, as the command line starts it.
#pragma once

#include <absl/status/status.h>

#include "launch/config/run_config.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// Collective over `world`. Rank 0 prints the loss over the validation data.
absl::Status evaluate(const RunConfig& config, Communicator& world);

}  // namespace switchyard
