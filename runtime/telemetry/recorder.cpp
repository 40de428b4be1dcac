#include "runtime/telemetry/recorder.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace switchyard {

void Recorder::scalar(std::string_view name, double value, Fold fold) {
  const std::lock_guard lock(mutex_);
  const auto found = scalars_.find(name);
  if (found == scalars_.end()) {
    scalars_.emplace(name, value);
  } else if (fold == Fold::kSum) {
    found->second += value;
  } else if (fold == Fold::kMax) {
    found->second = std::max(found->second, value);
  } else {
    found->second = value;
  }
}

std::map<std::string, double> Recorder::take_scalars() {
  const std::lock_guard lock(mutex_);
  std::map<std::string, double> taken(scalars_.begin(), scalars_.end());
  scalars_.clear();
  return taken;
}

void Recorder::add(Span span) {
  if (!records_spans()) return;
  const std::lock_guard lock(mutex_);
  spans_.push_back(std::move(span));
}

std::vector<Span> Recorder::take_spans() {
  const std::lock_guard lock(mutex_);
  return std::exchange(spans_, {});
}

int64_t Recorder::now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

}  // namespace switchyard
