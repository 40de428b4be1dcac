// Timing on one rank, for benchmarks. Machines are noisy: what is compared takes turns, and medians count.
#pragma once

#include <algorithm>
#include <ctime>
#include <functional>
#include <vector>

#include <absl/time/clock.h>
#include <absl/time/time.h>

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

// 0 of none.
inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

}  // namespace switchyard
