// What all ranks together take for a part of a job.
#pragma once

#include <cstdint>
#include <functional>

#include <absl/status/statusor.h>
#include <c10/core/Device.h>
#include <c10/core/TensorOptions.h>

#include "runtime/comm/communicator.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

// Told how many repeats of how many are done.
using BenchProgress = std::function<void(int64_t done, int64_t repeats)>;

// Milliseconds from a barrier to the end of the slowest rank; this rank's are added to `own_ms`. Collective over
// `world`, whatever `work` is. kCommunication; what `work` throws goes on.
absl::StatusOr<double> slowest_ms(const std::function<void()>& work, Communicator& world, double& own_ms);

// The same, with `recorder` hearing what this rank and its wires do meanwhile.
absl::StatusOr<double> slowest_ms(const std::function<void()>& work, Recorder& recorder, Communicator& world,
                                  double& own_ms);

// GFLOP/s of one large product of these options on each rank (mean) while the others try as well. Collective.
absl::StatusOr<double> peak_gflops(const at::TensorOptions& options, Communicator& world);

// The peak so far of the rank that has most, bytes. Collective.
absl::StatusOr<int64_t> most_memory(c10::Device device, Communicator& world);

}  // namespace switchyard
