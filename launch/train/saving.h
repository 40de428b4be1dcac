// A job's checkpoints: parameters, optimizer moments and run state.
#pragma once

#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "launch/train/console.h"
#include "launch/train/job.h"
#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

std::string checkpoints_folder(const RunConfig& config);

// Restores the job from the checkpoint that `resume` (checkpoint.resume) asks for, saved on any layout, and returns its
// path: empty where there is none to go on from, and nothing was touched. Under auto, newer ones that are damaged are
// told and skipped. kBadConfig where the job's model, data or batch differ from the saved run's; kBadData where there
// is damage and nothing older. Collective over all ranks.
absl::StatusOr<std::string> restore_latest(Job& job, const std::string& resume, Console* console);

// Gives the job its writer, as the config asks. Collective over all ranks.
absl::Status open_writer(Job& job);

// Saves the job's present step as `step-…` in checkpoints_folder(); its writer tells how that ended. Keeps the newest
// checkpoints that the config asks for; while steps are being skipped, all. Collective over all ranks.
void save(Job& job);

// Loads parameters and what routers keep, without the optimizer's moments, for a job that will not train. kBadData
// where the model is another, or for damage. Collective over all ranks.
absl::Status restore_model(Job& job, Checkpoint& checkpoint);

}  // namespace switchyard
