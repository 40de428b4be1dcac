// How long something takes that is tried out before a run, to choose by.
#pragma once

#include <functional>
#include <vector>

#include <absl/status/statusor.h>
#include <c10/core/Device.h>

#include "runtime/comm/communicator.h"

namespace switchyard {

// Of each of the numbers that `work` gives, which may throw StatusError: the slowest rank's, and of three such, after a
// call to warm up, the median. `device`: of this rank; `work` begins when it is idle and all ranks are there. The same
// on all ranks. Collective over `world`.
absl::StatusOr<std::vector<double>> try_out(const std::function<std::vector<double>()>& work, c10::Device device,
                                            Communicator& world);

}  // namespace switchyard
