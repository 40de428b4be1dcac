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

// The mean over ranks of what `recorder` was told of a repeat, of `repeats`; it starts anew. Collective over `world`;
// kCommunication.
absl::StatusOr<TierBytes> take_tier_bytes(Recorder& recorder, int64_t repeats, Communicator& world);

}  // namespace switchyard
