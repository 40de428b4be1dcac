// Which experts tokens go to where no router says it.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include "parallel/dispatch/dispatcher.h"

namespace switchyard {

// int64 [T,K]: K distinct experts of `experts` for each token, drawn without replacement with probability ~ 1/i^skew
// for the i-th.
at::Tensor draw_experts(int64_t tokens, int64_t experts, int64_t experts_per_token, double skew, uint64_t seed);

// Every token to the experts of its row, with weight 1. `dtype`: of tokens.
Routing routing_to(const at::Tensor& experts_TK, at::ScalarType dtype);

}  // namespace switchyard
