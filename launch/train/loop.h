// The training loop: steps, validation, checkpoints, and an orderly stop.
#pragma once

#include <functional>
#include <string>

#include <absl/status/status.h>

#include "launch/trace/step_profile.h"
#include "launch/trace/step_trace.h"
#include "launch/train/console.h"
#include "launch/train/job.h"
#include "launch/train/metrics.h"

namespace switchyard {

struct LoopOptions {
  std::string command;    // that goes on from the last checkpoint
  double peak_flops = 0;  // of all ranks together; 0: unknown
  // Asked after every step, on this rank: whether to stop in good order.
  std::function<bool()> stop_requested = [] { return false; };
  Console* console = nullptr;  // both on rank 0 only
  MetricsFile* metrics = nullptr;
  StepTrace* trace = nullptr;  // this and the next: on every rank, or on none
  StepProfile* profile = nullptr;
};

// Runs the job from its present step to the last. Collective over all ranks. kStoppedEarly after any rank was asked to
// stop, with a checkpoint written; kDiverged after train.max_skipped steps in a row whose loss or gradient is not
// finite, with no checkpoint written since the first of them; kIo where the last checkpoint cannot be written (an
// earlier one that fails is told at the next step and training goes on); else the errors of train_step. No save is
// under way when it returns, except after kCommunication.
absl::Status run_loop(Job& job, const LoopOptions& options);

}  // namespace switchyard
