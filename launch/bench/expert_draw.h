// Which experts tokens go to where no router says it.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace switchyard {

// int64 [T,K]: K distinct experts of `experts` for each token, drawn without replacement with probability ~ 1/i^skew
// for the i-th.
at::Tensor draw_experts(int64_t tokens, int64_t experts, int64_t experts_per_token, double skew, uint64_t seed);

}  // namespace switchyard
