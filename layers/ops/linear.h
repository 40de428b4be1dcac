// The linear layer without bias.
#pragma once

#include <ATen/core/Tensor.h>

#include "parallel/parameter/parameter.h"

namespace switchyard {

// x_TI [T,I] · Wᵀ → [T,O], in x's dtype, which is the weight's [O,I]. T may be 0. The backward adds the weight's
// gradient to the weight's (next_sum) and reports it, also where x needs no gradient of its own; x is saved, not
// copied. `weight` outlives the backward.
at::Tensor linear(const at::Tensor& x_TI, Parameter& weight_OI);

}  // namespace switchyard
