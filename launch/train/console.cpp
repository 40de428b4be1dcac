#include "launch/train/console.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <unistd.h>

#include "runtime/storage/file.h"

namespace switchyard {
namespace {

std::string clock_text(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace

std::string step_line(const StepMetrics& metrics, int64_t steps, double seconds_left) {
  constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
  std::string line =
      absl::StrFormat("step=%d/%d loss=%.4f grad_norm=%.3f lr=%.3e tokens/s=%.0f step_s=%.3f mem_GiB=%.2f",
                      metrics.step, steps, metrics.loss, metrics.grad_norm, metrics.lr, metrics.tokens_per_second,
                      metrics.step_seconds, static_cast<double>(metrics.memory_bytes) / kGiB);
  const auto imbalance = metrics.moe.find("load_imbalance");
  if (imbalance != metrics.moe.end()) absl::StrAppendFormat(&line, " imbalance=%.2f", imbalance->second);
  if (metrics.mfu > 0) absl::StrAppendFormat(&line, " mfu=%.1f%%", 100 * metrics.mfu);
  if (seconds_left >= 0) absl::StrAppend(&line, " eta=", clock_text(seconds_left));
  if (metrics.skipped) absl::StrAppend(&line, " skipped=1");
  if (metrics.validation_loss) absl::StrAppendFormat(&line, " validation_loss=%.4f", *metrics.validation_loss);
  return line;
}

bool output_is_terminal() {
  if (::isatty(STDOUT_FILENO) == 0) return false;
  const std::string parent = absl::StrCat("/proc/", ::getppid(), "/fd/1");
  const FileDescriptor output(::open(parent.c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  return output.valid() && ::isatty(output.get()) != 0;
}

void Console::clear_progress() {
  if (progress_shown_) out_ << "\r\x1b[K";
  progress_shown_ = false;
}

void Console::line(const std::string& text) {
  clear_progress();
  out_ << text << '\n' << std::flush;
}

void Console::progress(int64_t step) {
  if (!terminal_) return;
  constexpr int kWidth = 30;
  const int64_t done = steps_ > 0 ? kWidth * (step - 1) / steps_ : 0;
  out_ << "\r\x1b[K[" << std::string(done, '#') << std::string(kWidth - done, '.') << "] step " << step << '/' << steps_
       << std::flush;
  progress_shown_ = true;
}

void Console::step(const StepMetrics& metrics, double elapsed_seconds) {
  const int64_t done = metrics.step - first_step_;
  const double left =
      done > 0 ? elapsed_seconds / static_cast<double>(done) * static_cast<double>(steps_ - metrics.step) : -1;
  line(step_line(metrics, steps_, left));
}

}  // namespace switchyard
