// The kernel of every top-k.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "runtime/numerics/lanes.h"

namespace switchyard {

// The `count` largest of values[0 … n), by falling value, the lower index first among equals. By repeated maxima of a
// copy: no branch depends on the values. `scratch` has room for n rounded up to whole registers.
template <typename T>
SY_KERNEL void largest(const T* values, int64_t n, int64_t count, T* scratch, int64_t* indices) {
  constexpr T kTaken = -std::numeric_limits<T>::infinity();
  constexpr T kLowest = std::numeric_limits<T>::lowest();
  using Index = std::conditional_t<std::is_same_v<T, float>, int32_t, int64_t>;
  typedef Index Places __attribute__((vector_size(sizeof(Lanes<T>))));
  Places first;
  for (int64_t i = 0; i < kLanes<T>; ++i) first[i] = static_cast<Index>(i);

  const auto finite = [](const Lanes<T>& v) __attribute__((always_inline)) {
    return v > kLowest ? v : broadcast(kLowest);  // NaN too
  };
  Lanes<T> lanes;
  int64_t whole = 0;
  for (; whole + kLanes<T> <= n; whole += kLanes<T>) {
    load(values + whole, lanes);
    store(scratch + whole, finite(lanes));
  }
  if (whole < n) {
    load_first(values + whole, n - whole, kLowest, lanes);
    const Places left = first < static_cast<Index>(n - whole);
    store(scratch + whole, left ? finite(lanes) : broadcast(kTaken));
  }

  for (int64_t k = 0; k < count; ++k) {
    Lanes<T> most = broadcast(kTaken);
    Places place = first, at = first;
    for (int64_t i = 0; i < n; i += kLanes<T>, place += static_cast<Index>(kLanes<T>)) {
      load(scratch + i, lanes);
      const Places more = lanes > most;
      most = more ? lanes : most;
      at = more ? place : at;
    }
    const Places best = most == broadcast(maximum(most));
    indices[k] = minimum(best ? at : Places{} + std::numeric_limits<Index>::max());
    scratch[indices[k]] = kTaken;
  }
}

}  // namespace switchyard
