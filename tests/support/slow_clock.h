// A stand-in for the clock of a device, where there is none.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "runtime/device/stream_clock.h"

namespace switchyard {

// Comes to mark i at i milliseconds. `was_read`, where it is not null, is told.
class SlowClock : public StreamClock {
 public:
  explicit SlowClock(bool* was_read = nullptr) : was_read_(was_read) {}

  int64_t mark() override { return marks_++; }
  std::vector<int64_t> read() override {
    if (was_read_) *was_read_ = true;
    std::vector<int64_t> times;
    for (int64_t i = 0; i < marks_; ++i) times.push_back(i * 1'000'000);
    return times;
  }

 private:
  bool* const was_read_;
  std::atomic<int64_t> marks_ = 0;
};

}  // namespace switchyard
