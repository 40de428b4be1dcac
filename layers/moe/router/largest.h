// The kernel of every top-k.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "runtime/numerics/lanes.h"

namespace switchyard {

// Numbers of room that rows of n numbers need, whatever the registers.
template <typename T>
constexpr int64_t largest_scratch(int64_t n) {
  constexpr int64_t kMost = kLanes<Lanes<T, WideRegisters>>;
  return 2 * ((n + kMost - 1) / kMost) * kMost;
}

// As largest(), of kRows rows side by side: each maximum waits for the one before it, and a second row fills the wait.
template <int kRows, typename L, typename T>
SY_KERNEL void largest_of(const T* values, int64_t n, int64_t count, T* scratch, int64_t* indices) {
  constexpr T kTaken = -std::numeric_limits<T>::infinity();
  constexpr T kLowest = std::numeric_limits<T>::lowest();
  using Index = std::conditional_t<std::is_same_v<T, float>, int32_t, int64_t>;
  using Places = Vector<Index, sizeof(L)>;
  Places first;
  for (int64_t i = 0; i < kLanes<L>; ++i) first[i] = static_cast<Index>(i);

  const auto finite = [](const L& v) __attribute__((always_inline)) {
    return v > kLowest ? v : broadcast<L>(kLowest);  // NaN too
  };
  const int64_t stride = largest_scratch<T>(n) / 2;
  L lanes;
  for (int r = 0; r < kRows; ++r) {
    const T* row = values + r * n;
    int64_t whole = 0;
    for (; whole + kLanes<L> <= n; whole += kLanes<L>) {
      load(row + whole, lanes);
      store(scratch + r * stride + whole, finite(lanes));
    }
    if (whole < n) {
      load_first(row + whole, n - whole, kLowest, lanes);
      const Places left = first < static_cast<Index>(n - whole);
      store(scratch + r * stride + whole, left ? finite(lanes) : broadcast<L>(kTaken));
    }
  }

  for (int64_t k = 0; k < count; ++k) {
    L most[kRows];
    Places place = first, at[kRows];
    for (int r = 0; r < kRows; ++r) most[r] = broadcast<L>(kTaken), at[r] = first;
    for (int64_t i = 0; i < n; i += kLanes<L>, place += static_cast<Index>(kLanes<L>)) {
      for (int r = 0; r < kRows; ++r) {
        load(scratch + r * stride + i, lanes);
        const Places more = lanes > most[r];
        most[r] = more ? lanes : most[r];
        at[r] = more ? place : at[r];
      }
    }
    for (int r = 0; r < kRows; ++r) {
      const Places best = most[r] == broadcast<L>(maximum(most[r]));
      const int64_t index = minimum(best ? at[r] : Places{} + std::numeric_limits<Index>::max());
      scratch[r * stride + index] = kTaken;
      indices[r * count + k] = index;
    }
  }
}

// indices [rows, count]: of each of the rows of `values` [rows, n] the `count` largest, by falling value, the lower
// index first among equals. By repeated maxima of a copy: no branch depends on the values. `scratch` has room for
// largest_scratch(n) numbers.
template <typename L, typename T>
SY_KERNEL void largest(const T* values, int64_t rows, int64_t n, int64_t count, T* scratch, int64_t* indices) {
  int64_t row = 0;
  for (; row + 2 <= rows; row += 2) largest_of<2, L>(values + row * n, n, count, scratch, indices + row * count);
  if (row < rows) largest_of<1, L>(values + row * n, n, count, scratch, indices + row * count);
}

}  // namespace switchyard
