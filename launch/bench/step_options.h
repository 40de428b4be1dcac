// What `switchyard bench step` is asked to measure.
#pragma once

#include <cstdint>

#include "launch/config/run_config.h"

namespace switchyard {

struct StepBenchOptions {
  RunConfig config = {};
  int64_t vocabulary = 0;  // as resolve_vocabulary has it
  int64_t repeats = 11;    // steps
};

// Steps before the first that counts: they allocate, and touch all memory.
inline constexpr int64_t kWarmUpSteps = 2;

}  // namespace switchyard
