// The kernel of every top-k.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "runtime/numerics/lanes.h"

namespace switchyard {

// The `count` largest of values[0 … n), by falling value, the lower index first among equals. By repeated maxima of a
// copy: no branch depends on the values. `scratch` has room for n rounded up to whole registers.
template <typename T>
void largest(const T* values, int64_t n, int64_t count, T* scratch, int64_t* indices) {
  constexpr T kTaken = -std::numeric_limits<T>::infinity();
  constexpr T kLowest = std::numeric_limits<T>::lowest();
  const int64_t padded = (n + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  for (int64_t i = 0; i < n; ++i) scratch[i] = values[i] > kLowest ? values[i] : kLowest;  // NaN too
  std::fill(scratch + n, scratch + padded, kTaken);
  for (int64_t k = 0; k < count; ++k) {
    Lanes<T> most = broadcast(kTaken);
    for (int64_t i = 0; i < padded; i += kLanes<T>) {
      Lanes<T> lanes;
      load(scratch + i, lanes);
      most = maximum(lanes, most);
    }
    indices[k] = std::find(scratch, scratch + n, maximum(most)) - scratch;
    scratch[indices[k]] = kTaken;
  }
}

}  // namespace switchyard
