// What all ranks together take for a part of a job.
#pragma once

#include <cstdint>
#include <functional>

#include <absl/status/statusor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include "runtime/comm/communicator.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

// Told how many repeats of how many are done.
using BenchProgress = std::function<void(int64_t done, int64_t repeats)>;

// What a benchmark computes on.
struct BenchSite {
  explicit(false) BenchSite(Communicator& world) : world(world), wires(world) {}
  BenchSite(Communicator& world, Communicator& wires, c10::Device device)
      : world(world), wires(wires), device(device) {}

  Communicator& world;  // of tensors on the host: by it ranks wait for each other and compare
  Communicator& wires;  // of tensors on the device, which the mesh is made of; the world, where that is the host
  c10::Device device = c10::kCPU;
};

// Milliseconds from a barrier to the end of the slowest rank and of its device; this rank's are added to `own_ms`.
// Collective over the site's world, whatever `work` is. kCommunication; what `work` throws goes on.
absl::StatusOr<double> slowest_ms(const std::function<void()>& work, const BenchSite& site, double& own_ms);

// The same, with `recorder` hearing what this rank, its device and its wires do meanwhile.
absl::StatusOr<double> slowest_ms(const std::function<void()>& work, Recorder& recorder, const BenchSite& site,
                                  double& own_ms);

// GFLOP/s of one large product of this dtype on each rank (mean) while the others try as well. Collective.
absl::StatusOr<double> peak_gflops(at::ScalarType dtype, const BenchSite& site);

// The peak so far of the rank that has most, bytes: where its tensors are. Collective.
absl::StatusOr<int64_t> most_memory(const BenchSite& site);

}  // namespace switchyard
