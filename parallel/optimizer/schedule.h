// The learning rate as a pure function of the step.
#pragma once

#include <cstdint>

#include "parallel/optimizer/config.h"

namespace switchyard {

// Of the update that makes step `step` of 1 … total_steps. Warm-up is linear and reaches lr at step `warmup`; cosine,
// linear and wsd (Hu et al., "MiniCPM", 2024, with a linear decay) reach min_lr at the last step and stay there.
double learning_rate(const OptimizerConfig& config, int64_t step, int64_t total_steps);

}  // namespace switchyard
