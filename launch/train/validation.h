// The loss over held-out data, and what the routers did with it.
#pragma once

#include <map>

#include <absl/status/statusor.h>

#include "launch/train/expert_use.h"
#include "launch/train/job.h"
#include "launch/train/moe_metrics.h"

namespace switchyard {

struct Validation {
  double loss = 0;                          // mean cross-entropy per counted target
  MoeFigures moe;                           // as routers choose in evaluation
  std::map<int64_t, ExpertUse> expert_use;  // by layer
};

// One pass over the job's validation data. Collective over all ranks, which all get it. Errors as in train_step.
absl::StatusOr<Validation> validate(Job& job);

}  // namespace switchyard
