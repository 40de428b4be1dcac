// The smallest run that has all of a mixture's parts.
#pragma once

#include "launch/config/run_config.h"

namespace switchyard {

// Two layers with shared experts, two parts a step, random tokens, fp64.
inline RunConfig small_run() {
  RunConfig config;
  config.model.width = 16;
  config.model.layers = 2;
  config.model.vocabulary = 32;
  config.model.attention = {.heads = 2, .kv_heads = 1, .head_width = 4};
  config.model.moe.experts = 4;
  config.model.moe.expert_width = 8;
  config.model.moe.experts_per_token = 2;
  config.model.moe.shared_experts = 1;
  config.data.train = config.data.validation = "random";
  config.data.validation_sequences = 4;
  config.data.sequence = 8;
  config.train.global_batch = 4;
  config.train.accumulation = 2;
  config.train.precision = "fp64";
  return config;
}

}  // namespace switchyard
