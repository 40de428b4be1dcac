// Training, as the command line starts it.
#pragma once

#include <functional>
#include <string>

#include <absl/status/status.h>

#include "launch/config/run_config.h"
#include "launch/trace/step_profile.h"
#include "launch/trace/step_trace.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

struct TrainOptions {
  RunConfig config;
  bool dry_run = false;
  std::string command;  // what to run again to go on: "switchyard train …", without the launcher
  std::function<bool()> stop_requested = [] { return false; };  // asked after every step, on any rank
  // On every rank, or on none; at most one of the two.
  StepTrace* trace = nullptr;
  StepProfile* profile = nullptr;
};

// Collective over `world`, all ranks of the job. kStoppedEarly where a rank was asked to stop, with a checkpoint saved.
absl::Status train(const TrainOptions& options, Communicator& world);

}  // namespace switchyard
