// What a rank notes about itself while it works: scalars of the present step, and spans of time. Passed by reference to
// whoever measures; it knows no sink: the training loop takes what was recorded and decides where it goes. Calls are
// safe from several threads (the communication thread records spans while the rank computes).
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// How several values of one name within a step become one.
enum class Fold { kLast, kSum, kMax };

// A stretch of time on one lane of this rank. Lanes run side by side ("compute", "communication", "wire").
struct Span {
  std::string name;
  std::string lane;
  int64_t begin_ns = 0;  // of the steady clock
  int64_t end_ns = 0;
  int64_t bytes = 0;  // that it moved; 0: none, or not known
};

class Recorder {
 public:
  void scalar(std::string_view name, double value, Fold fold = Fold::kLast);
  // The scalars since the last call.
  std::map<std::string, double> take_scalars();

  // Off at first; while off, recording a span costs one relaxed load.
  void record_spans(bool on) { spans_on_.store(on, std::memory_order_relaxed); }
  bool records_spans() const { return spans_on_.load(std::memory_order_relaxed); }
  void add(Span span);
  // In the order in which they ended.
  std::vector<Span> take_spans();

  // Nanoseconds of the steady clock.
  static int64_t now();

 private:
  std::mutex mutex_;
  std::map<std::string, double, std::less<>> scalars_;
  std::vector<Span> spans_;
  std::atomic<bool> spans_on_{false};
};

}  // namespace switchyard
