// The precision of a run: what matrix products take and what everything else is computed and accumulated in.
#pragma once

#include <c10/core/ScalarType.h>

namespace switchyard {

enum class Precision { kBf16, kFp32, kFp64 };

constexpr at::ScalarType compute_dtype(Precision precision) {
  return precision == Precision::kBf16 ? at::kBFloat16 : precision == Precision::kFp32 ? at::kFloat : at::kDouble;
}

// Of routers, norms, softmax, losses, gradients and optimizer state that go with activations of `dtype`.
constexpr at::ScalarType accumulate_dtype(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace switchyard
