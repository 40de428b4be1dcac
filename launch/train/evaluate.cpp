#include "launch/train/evaluate.h"

#include "launch/train/agreement.h"
#include "runtime/base/status.h"

namespace switchyard {

absl::Status evaluate(const RunConfig&, Communicator& world) {
  return agree(world, error(ErrorCategory::kUnavailable, "evaluation is not part of this build"));
}

}  // namespace switchyard
