// The arithmetic of reductions over ranks.
#pragma once

#include <cstdint>
#include <span>

#include <c10/core/ScalarType.h>

#include "runtime/comm/communicator.h"
#include "runtime/comm/reduction.h"

namespace switchyard {

// out[i] = sources[0][i] ∘ sources[1][i] ∘ …, strictly in that order. Sums of 16-bit dtypes are accumulated in fp32 and
// rounded once; integers wrap; maxima and minima propagate NaN. `out` may be one of the sources.
// dtype: fp64, fp32, fp16, bf16, or an integer of 8 to 64 bits.
void reduce_in_order(at::ScalarType dtype, ReduceOp op, std::span<const void* const> sources, void* out, int64_t count);
void reduce_in_order(const Reduction& reduction);

}  // namespace switchyard
