// Counts the rows that a dispatcher leaves on its rank, which no wire tells.
#pragma once

#include <cstdint>

#include "launch/train/assemble.h"
#include "parallel/topology/mesh.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

// Put around the dispatchers of a model with `experts` experts a layer: while `recorder` records spans they tell it,
// for take_tier_bytes, the bytes of the rows that stay, out and back, in the forward and in the backward that mirrors
// it. Recorder and mesh are borrowed.
Decorators record_own_rows(Recorder& recorder, int64_t experts, const Mesh& mesh);

}  // namespace switchyard
