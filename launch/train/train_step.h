// One training step.
#pragma once

#include <cstdint>

#include <absl/status/statusor.h>

#include "launch/train/job.h"
#include "launch/train/moe_metrics.h"

namespace switchyard {

struct StepOutcome {
  double loss = 0;  // cross-entropy per counted target, over all ranks
  double grad_norm = 0;
  double lr = 0;
  bool skipped = false;  // loss or norm was not finite: nothing was updated, on any rank
  MoeFigures moe;
};

// Step number `job.state.step` (from 0); advances the state. Collective over all ranks. Errors are those of the wire
// (kCommunication) and of the data (kBadData, on the rank that met them alone).
absl::StatusOr<StepOutcome> train_step(Job& job);

}  // namespace switchyard
