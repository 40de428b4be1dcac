// What a part of a job moves, by the tier of wires that it travels on.
#pragma once

#include <cstdint>

#include <absl/status/statusor.h>

#include "runtime/comm/communicator.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

struct TierBytes {
  int64_t own = 0;     // stays on the rank
  int64_t node = 0;    // goes to others on its host
  int64_t remote = 0;  // and to other hosts
};

// Adds to what stays on this rank, which no wire tells; the wires tell the rest where record_bytes observes them.
void record_own_bytes(Recorder& recorder, int64_t bytes);

// What `recorder` was told on this rank; it starts anew.
TierBytes take_rank_bytes(Recorder& recorder);
// The mean over the ranks of a repeat, where `all` is what `repeats` moved. Collective over `world`; kCommunication.
absl::StatusOr<TierBytes> mean_bytes(const TierBytes& all, int64_t repeats, Communicator& world);
// Both.
absl::StatusOr<TierBytes> take_tier_bytes(Recorder& recorder, int64_t repeats, Communicator& world);

}  // namespace switchyard
