// Layout-independent initialisation: every element from the counter-based generator keyed by (seed, tensor name, global
// element index), so that each layout starts from the same model, bit for bit.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "parallel/parameter/parameter.h"

namespace switchyard {

// Fills `out` (shape: box.extent; fp32 or fp64; lower precisions are cast by the caller) with the elements of `box` of
// the logical tensor. Values are drawn in fp64 and rounded once, the same bits on every device.
void initialise(const Slice& slice, const Box& box, uint64_t seed, at::Tensor out);

// Fills the values of all slices, rounded to the values' dtype.
void initialise_values(const ParameterList& parameters, uint64_t seed);

}  // namespace switchyard
