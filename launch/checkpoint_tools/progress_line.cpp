#include "launch/checkpoint_tools/progress_line.h"

#include <utility>

#include <absl/strings/str_format.h>
#include <absl/time/clock.h>

namespace switchyard {

ProgressLine::ProgressLine(std::ostream* out, std::string what, int64_t total)
    : out_(out), what_(std::move(what)), total_(total) {}

ProgressLine::~ProgressLine() {
  if (out_ != nullptr && done_ > 0) *out_ << "\r\x1b[K" << std::flush;
}

void ProgressLine::add(int64_t bytes) {
  done_ += bytes;
  const absl::Time now = absl::Now();
  if (out_ == nullptr || now - shown_ < absl::Milliseconds(200)) return;
  shown_ = now;
  constexpr double kMiB = 1024.0 * 1024.0;
  *out_ << absl::StrFormat("\r\x1b[K%s: %.0f of %.0f MiB", what_, static_cast<double>(done_) / kMiB,
                           static_cast<double>(total_) / kMiB)
        << std::flush;
}

}  // namespace switchyard
