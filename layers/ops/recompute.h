// Activation checkpointing (Chen et al., "Training deep nets with sublinear memory cost", 2016).
#pragma once

#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace switchyard {

using Block = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>;

// block(inputs), of which only the inputs are kept: backward runs the block once more, with gradients, and goes back
// through it. The block must be a function of its inputs and of parameters alone and may communicate (every rank runs
// it again in backward, in the same order). Parameters that it uses get their gradients as ever; it must be their only
// use in a step. At least one input requires grad. Outputs without a gradient are treated as unused.
// Without grad mode: plain block(inputs).
std::vector<at::Tensor> recompute(Block block, const std::vector<at::Tensor>& inputs);

}  // namespace switchyard
