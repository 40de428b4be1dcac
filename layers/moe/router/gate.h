// The router's product: as linear(), but its result and its gradient are fp32 where x and the weight are bf16.
#pragma once

#include <ATen/core/Tensor.h>

#include "parallel/parameter/parameter.h"

namespace switchyard {

// x_TD [T,D] · weight_EDᵀ → [T,E] in fp32 (fp64 for fp64). T may be 0. The backward adds the weight's gradient in place
// and reports it; x is saved, not copied. `weight` outlives the backward.
at::Tensor gate(const at::Tensor& x_TD, Parameter& weight_ED);

}  // namespace switchyard
