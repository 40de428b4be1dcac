#include "launch/train/train.h"

#include "launch/train/agreement.h"
#include "runtime/base/status.h"

namespace switchyard {

absl::Status train(const TrainOptions&, Communicator& world) {
  return agree(world, error(ErrorCategory::kUnavailable, "training is not part of this build"));
}

}  // namespace switchyard
