// Training, as the command line starts it.
#pragma once

#include <string>

#include <absl/status/status.h>

#include "launch/config/run_config.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

struct TrainOptions {
  RunConfig config;
  bool dry_run = false;
  std::string command;  // what to run again to go on: "switchyard train …", without the launcher
};

// Collective over `world`, all ranks of the job. kStoppedEarly after a signal, with a checkpoint saved.
absl::Status train(const TrainOptions& options, Communicator& world);

}  // namespace switchyard
