// The arithmetic of AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019), as PyTorch's AdamW
// writes it, operation by operation.
#pragma once

#include <cstdint>

#include <c10/util/BFloat16.h>

#include "parallel/optimizer/adamw_factors.h"

namespace switchyard {

// One pass over `n` elements: parameter p and moments m and v in place. An element's bits do not depend on where in
// the range it lies. T: float or double.
template <typename T>
void adamw_update(const AdamWFactors& factors, int64_t n, const T* gradient, T* p, T* m, T* v);

// To nearest, ties to even; not-a-number stays so.
void round_to_bf16(const float* in, int64_t n, c10::BFloat16* out);

}  // namespace switchyard
