// The loss over held-out data.
#pragma once

#include <absl/status/statusor.h>

#include "launch/train/job.h"

namespace switchyard {

// Mean cross-entropy per counted target over the job's validation data. Collective over all ranks. Errors as in
// train_step.
absl::StatusOr<double> validation_loss(Job& job);

}  // namespace switchyard
