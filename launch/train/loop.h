// The training loop: steps, validation, checkpoints, and an orderly stop.
#pragma once

#include <string>

#include <absl/status/status.h>

#include "launch/train/console.h"
#include "launch/train/job.h"
#include "launch/train/metrics.h"

namespace switchyard {

struct LoopOptions {
  std::string command;         // that goes on from the last checkpoint
  double peak_flops = 0;       // of all ranks together; 0: unknown
  Console* console = nullptr;  // both on rank 0 only
  MetricsFile* metrics = nullptr;
};

// Runs the job from its present step to the last. Collective over all ranks. kStoppedEarly after a stop signal to any
// rank, with a checkpoint written; kDiverged after train.max_skipped steps in a row whose loss or gradient is not
// finite, with no checkpoint written; kIo where the last checkpoint cannot be written (an earlier one that fails is
// reported and training goes on); else the errors of train_step.
absl::Status run_loop(Job& job, const LoopOptions& options);

}  // namespace switchyard
