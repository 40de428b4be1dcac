// How long something takes that is tried out before a run, to choose by.
#pragma once

#include <functional>

#include <absl/status/statusor.h>

#include "runtime/comm/communicator.h"

namespace switchyard {

// Milliseconds of `work` on the slowest rank, on a device until it is done: the median of three, after one to warm up.
// The same on all ranks. Collective over `world`.
absl::StatusOr<double> trial_ms(const std::function<absl::Status()>& work, Communicator& world);

}  // namespace switchyard
