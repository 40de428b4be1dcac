// When an operation's patience ends.
#pragma once

#include <algorithm>
#include <chrono>

#include <absl/time/time.h>

namespace switchyard {

// Within what the clock can count, also for a timeout that means never.
inline std::chrono::steady_clock::time_point deadline_after(absl::Duration timeout) {
  constexpr absl::Duration kLongest = absl::Hours(24 * 365 * 10);
  return std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(std::min(timeout, kLongest));
}

}  // namespace switchyard
