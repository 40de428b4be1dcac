#include "launch/trace/step_trace.h"

#include <cerrno>
#include <filesystem>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <unistd.h>

#include "launch/trace/chrome_trace.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"
#include "runtime/device/device.h"
#include "runtime/storage/atomic_file.h"
#include "runtime/storage/file.h"

namespace switchyard {

absl::Status parse_trace_steps(const std::string& text, StepTraceOptions& options) {
  const std::vector<std::string> ends = absl::StrSplit(text, '-');
  const bool numbers = ends.size() <= 2 && absl::SimpleAtoi(ends.front(), &options.first) &&
                       absl::SimpleAtoi(ends.back(), &options.last);
  if (numbers && 1 <= options.first && options.first <= options.last) return absl::OkStatus();
  return error(ErrorCategory::kUsage,
               absl::StrCat("--trace-steps ", text, ": give a step or the first and the last one, such as 7 or 7-9"));
}

absl::Status StepTrace::check() const {
  std::filesystem::path folder = std::filesystem::path(options_.path).parent_path();
  if (folder.empty()) folder = ".";
  if (::access(folder.c_str(), W_OK) == 0) return absl::OkStatus();
  return io_error("cannot write a trace to", options_.path, errno);
}

absl::StatusOr<std::string> StepTrace::before_step(int64_t step, Communicator& world, c10::Device device) {
  if (options_.first == 0) {
    options_.first = step + 1;
    options_.last = step + 2;
  }
  if (listener_) end_step();
  if (listener_ && step > options_.last) return write(world);
  const bool chosen = options_.first <= step && step <= options_.last;
  if (chosen && !listener_) SY_RETURN_IF_ERROR(begin(step, world, device));
  last_ = step;
  step_begin_ns_ = Recorder::now();
  return std::string();
}

absl::StatusOr<std::string> StepTrace::finish(Communicator& world) {
  if (listener_) {
    end_step();
    return write(world);
  }
  if (written_) return std::string();
  if (options_.first == 0) return std::string("there is no trace: no step was trained");
  return absl::StrCat("there is no trace: none of the steps ", options_.first, " to ", options_.last,
                      " was trained; choose others with --trace-steps");
}

absl::Status StepTrace::begin(int64_t step, Communicator& world, c10::Device device) {
  // The ranks of a host have one clock, and its zero is their first rank's. Hosts' clocks have nothing in common; the
  // end of a barrier they have, but for the time of a message.
  SY_RETURN_IF_ERROR(world.barrier().wait());
  const at::Tensor mine = at::full({1}, Recorder::now(), at::kLong), all = at::empty({world.size()}, at::kLong);
  SY_RETURN_IF_ERROR(world.all_gather(mine, all, std::vector<int64_t>(world.size(), 1)).wait());
  int first = 0;
  while (world.node_of(first) != world.node_of(world.rank())) ++first;
  zero_ns_ = all[first].item<int64_t>();
  begun_ = step;
  recorder_.record_spans(true);
  device_ = device;
  listener_.emplace(recorder_, make_stream_clock(device));
  return absl::OkStatus();
}

void StepTrace::end_step() {
  synchronise(device_);
  recorder_.add({absl::StrCat("step ", last_), "compute", step_begin_ns_, Recorder::now()});
}

absl::StatusOr<std::string> StepTrace::write(Communicator& world) {
  listener_.reset();
  recorder_.record_spans(false);
  written_ = true;
  const std::string title = absl::StrCat("rank ", world.rank(), " (host ", world.node_of(world.rank()), ")");
  const std::string mine = trace_events(world.rank(), title, recorder_.take_spans(), zero_ns_);
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> events, gather_texts(world, mine));
  SY_RETURN_IF_ERROR(broadcast_status(
      world, world.rank() == 0 ? write_file_atomically(options_.path, chrome_trace(events)) : absl::OkStatus()));
  return absl::StrCat("trace of steps ", begun_, " to ", last_, " in ", options_.path, "; ui.perfetto.dev opens it");
}

}  // namespace switchyard
