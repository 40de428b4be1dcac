// What the plain reference takes on rank 0.
#pragma once

#include <cstdint>

#include "launch/config/run_config.h"

namespace switchyard {

// Parameters with what belongs to them, what autograd keeps of one part, and what is kept of all parts to be compared;
// tokens spread evenly over experts. `parameters`: elements of the whole model.
int64_t reference_bytes(const RunConfig& config, int64_t vocabulary, int64_t parameters);

}  // namespace switchyard
