// How fast rows travel between ranks: the all-to-all of the dispatch group alone, over sizes, beside a memcpy.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <absl/status/statusor.h>

#include "launch/bench/all_to_all_options.h"
#include "launch/bench/tier_bytes.h"
#include "launch/bench/timing.h"
#include "parallel/dispatch/alpha_beta.h"
#include "runtime/comm/communicator.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

// One size. Times are milliseconds: medians over repeats of the slowest rank's mean over calls without a pause.
struct AllToAllSize {
  int64_t rows = 0;   // as RowCounts has it
  int64_t bytes = 0;  // of the rank that has most: sent to other ranks, or received, whichever is more
  double ms = 0;
  double floor_ms = 0;   // of a memcpy on each rank, all at once, of what it receives from others on its host
  TierBytes tiers = {};  // of a rank (mean), per call

  double gb_per_second() const { return ms > 0 ? static_cast<double>(bytes) / ms / 1e6 : 0; }
  // Only where all comes from the rank's host.
  std::optional<double> percent_of_floor() const {
    return bytes > 0 && tiers.remote == 0 ? std::optional(100 * floor_ms / ms) : std::nullopt;
  }
};

struct AllToAllBench {
  std::vector<AllToAllSize> sizes;  // small ones first
  // Milliseconds by bytes, over the sizes; none where too few sizes travel.
  std::optional<AlphaBeta> model;
};

// Collective over `world`, whose wires tell `recorder` what record_bytes asks for, of "/dispatch".
// kBadConfig, on all ranks alike, where tokens cannot have so many experts.
absl::StatusOr<AllToAllBench> bench_all_to_all(const AllToAllBenchOptions& options, Recorder& recorder,
                                               Communicator& world, const BenchProgress& progress = nullptr);

}  // namespace switchyard
