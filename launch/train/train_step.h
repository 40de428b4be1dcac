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

// Its two halves, for who compares what lies between them; they leave the state as it is, and failures of the wire in
// forward and backward are thrown as StatusError. First forward and backward of all parts: reduced gradients, and what
// of the outcome is known by then.
absl::StatusOr<StepOutcome> compute_gradients(Job& job);
// Then norm, clipping and update.
absl::Status apply_gradients(Job& job, StepOutcome& outcome);

}  // namespace switchyard
