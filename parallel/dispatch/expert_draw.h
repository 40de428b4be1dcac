// Which experts tokens go to where no router says it.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

#include "parallel/dispatch/dispatcher.h"

namespace switchyard {

// int64 [T,K]: K distinct experts of `experts` for each token, drawn without replacement with probability ~ 1/i^skew
// for the i-th.
at::Tensor draw_experts(int64_t tokens, int64_t experts, int64_t experts_per_token, double skew, uint64_t seed);

// Every token to the experts of its row, with weight 1. `tokens`: their dtype and device.
Routing routing_to(const at::Tensor& experts_TK, const at::TensorOptions& tokens);

}  // namespace switchyard
