// How fast rows travel between ranks, over sizes, beside a memcpy: by the all-to-all of the dispatch group alone, or by
// a dispatcher.
//
// Alone, rows go one way; the memcpy is of what a rank receives from others on its host. By a dispatcher they go out
// and back: the time holds the plan, putting rows in order, those that stay on their rank too, and the sums over a
// token's rows. Bytes are what is sent both ways, with counts, slots and weights. A dispatcher that sends fewer rows
// has fewer, so that GB/s and the model's time a byte compare only with the same dispatcher's. The memcpy is of a row
// for every slot, both ways, those that stay too, as far as they are from the rank's host: the same for all
// dispatchers, which so compare by their times and by their per cent of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
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
  double floor_ms = 0;   // of the memcpy, on all ranks at once
  TierBytes tiers = {};  // of a rank (mean), per call

  double gb_per_second() const { return ms > 0 ? static_cast<double>(bytes) / ms / 1e6 : 0; }
  // Only where all comes from the rank's host.
  std::optional<double> percent_of_floor() const {
    return bytes > 0 && tiers.remote == 0 ? std::optional(100 * floor_ms / ms) : std::nullopt;
  }
};

struct AllToAllBench {
  std::vector<AllToAllSize> sizes = {};  // small ones first
  // Milliseconds by bytes, over the sizes; none where too few sizes travel.
  std::optional<AlphaBeta> model = std::nullopt;
  int64_t memory_bytes = 0;  // peak of the process that has most, after each size has run once
  // Why rows go by messages within hosts too; empty where memory is shared or was not asked for.
  std::string by_messages = {};
};

// Collective over the site's world, whose wires tell `recorder` what record_bytes asks for, of "/dispatch".
// kBadConfig, on all ranks alike, where tokens cannot have so many experts.
absl::StatusOr<AllToAllBench> bench_all_to_all(const AllToAllBenchOptions& options, Recorder& recorder,
                                               const BenchSite& site, const BenchProgress& progress = nullptr);

}  // namespace switchyard
