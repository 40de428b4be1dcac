// The activations of feed-forward layers and experts, elementwise on pre-activations h of [R, P], P from
// pre_activation_width(): SwiGLU (Shazeer, "GLU variants improve transformer", 2020) takes h = [gate | up] and gives
// silu(gate)·up; GELU is the exact one, with erf; ReLU.
// dtypes bf16, fp32 or fp64, all tensors alike and on one device; bf16 is computed in fp32 and rounded once. A value's
// bits depend on its own inputs alone, never on its place in the row, the width or the number of threads.
#pragma once

#include <cstdint>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "layers/ops/activation_kind.h"

namespace switchyard {

// "swiglu", "gelu" or "relu"; anything else is a bug (configs check with one_of).
Activation activation_from_name(std::string_view name);

// 2·width for SwiGLU, else width.
int64_t pre_activation_width(Activation activation, int64_t width);

// out [R,F] := activation(h [R,P]). Rows are contiguous; row strides may exceed the widths.
void activation_forward(Activation activation, const at::Tensor& h_RP, at::Tensor out_RF);

// d_RP := the gradient of h, given the gradient g_RF of the output; out_RF := activation(h), recomputed in the same
// pass because the products of a backward need both. d_RP may be h_RP, and out_RF may be g_RF.
void activation_backward(Activation activation, const at::Tensor& h_RP, const at::Tensor& g_RF, at::Tensor d_RP,
                         at::Tensor out_RF);

// The same with autograd, for dense layers: h_RP → [R,F]. Saves h, which must not be written afterwards.
at::Tensor activate(Activation activation, const at::Tensor& h_RP);

}  // namespace switchyard
