// Unit round-offs of a run's formats.
#pragma once

#include "runtime/numerics/precision.h"

namespace switchyard {

constexpr double kUnitFp64 = 0x1p-53, kUnitFp32 = 0x1p-24, kUnitBf16 = 0x1p-8;

// Of sums, and of what routers, norms, losses and the optimizer keep.
constexpr double accumulated_unit(Precision precision) {
  return precision == Precision::kFp64 ? kUnitFp64 : kUnitFp32;
}

// Of activations.
constexpr double stored_unit(Precision precision) {
  return precision == Precision::kBf16 ? kUnitBf16 : accumulated_unit(precision);
}

}  // namespace switchyard
