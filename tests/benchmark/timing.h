// Timing on one rank, for benchmarks. Machines are noisy: what is compared takes turns, and medians count.
#pragma once

#include <ctime>
#include <functional>

#include <absl/time/clock.h>
#include <absl/time/time.h>

#include "runtime/numerics/median.h"

namespace switchyard {

inline double milliseconds(const std::function<void()>& work) {
  const absl::Time start = absl::Now();
  work();
  return absl::ToDoubleMilliseconds(absl::Now() - start);
}

// Of this thread alone: waiting for a core that others have does not count.
inline double cpu_milliseconds(const std::function<void()>& work) {
  const auto now = [] {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
  };
  const double start = now();
  work();
  return now() - start;
}

}  // namespace switchyard
