// The middle of a sample: what counts where times are noisy.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace switchyard {

// Of an even number of values the upper of the two in the middle; T() of none.
template <typename T>
T median(std::vector<T> values) {
  if (values.empty()) return T();
  const auto middle = values.begin() + static_cast<int64_t>(values.size()) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace switchyard
