// A job's checkpoints: parameters, optimizer moments and run state.
#pragma once

#include <memory>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "launch/train/console.h"
#include "launch/train/job.h"
#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

std::string checkpoints_folder(const RunConfig& config);

// The checkpoint that `resume` (checkpoint.resume) asks for; null where there is none to go on from. Newer ones that
// are damaged are skipped and told. Collective over `world`.
absl::StatusOr<std::unique_ptr<Checkpoint>> find_checkpoint(const RunConfig& config, const std::string& resume,
                                                            Communicator& world, Console* console);

// Writes `step-…` in checkpoints_folder() for the job's present step and keeps the newest checkpoints that the config
// asks for. Collective over all ranks; after an error, which all ranks return, older checkpoints are as they were.
absl::Status save(const Job& job);

// Restores the job from `checkpoint`, saved on any layout. kBadConfig where the job's model, data or batch differ from
// the saved run's; kBadData for damage. Collective over all ranks.
absl::Status restore(Job& job, Checkpoint& checkpoint);

}  // namespace switchyard
