// The router's product: as linear(), but its result and its gradient are fp32 where x and the weight are bf16.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/parameter/parameter.h"

namespace switchyard {

// x_TD [T,D] · weight_EDᵀ → [T,E] in fp32 (fp64 for fp64). T may be 0. The backward adds the weight's gradient in place
// and reports it; x is saved, not copied. `weight` outlives the backward.
// In bf16 the weight's gradient is the product with the whole fp32 gradient of the logits; x's is rounded once more
// before its product, as all gradients of activations are.
at::Tensor gate(const at::Tensor& x_TD, Parameter& weight_ED);

// gate() of each weight, with one pass over x in the backward.
std::vector<at::Tensor> gates(const at::Tensor& x_TD, const ParameterList& weights_ED);

}  // namespace switchyard
