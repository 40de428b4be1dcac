// What all ranks do in some steps of a run, written as one Chrome trace.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <c10/core/Device.h>

#include "launch/trace/listener.h"
#include "runtime/comm/communicator.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

struct StepTraceOptions {
  std::string path = {};
  // Counted from 1, as metrics count them; 0: the second and third that this start of the run trains. Spans are kept in
  // memory until they are written, some hundred bytes each.
  int64_t first = 0, last = 0;
};

// "7" or "7-9". kUsage where it is neither.
absl::Status parse_trace_steps(const std::string& text, StepTraceOptions& options);

class StepTrace {
 public:
  explicit StepTrace(StepTraceOptions options) : options_(std::move(options)) {}

  // The run's, and of its wires (record_wires).
  Recorder& recorder() { return recorder_; }
  // That the file can be written: before anything is trained. Local.
  absl::Status check() const;
  // Call it before each step, which is counted from 1, and finish() after the last; on the thread that trains.
  // `device` computes: its times are those of spans. Collective over `world`. The file is written before the step after
  // options.last, or in finish(). Returns a line about that for the user, or nothing; kIo on all ranks alike where it
  // fails, which is no reason to stop.
  absl::StatusOr<std::string> before_step(int64_t step, Communicator& world, c10::Device device);
  absl::StatusOr<std::string> finish(Communicator& world);

 private:
  absl::Status begin(int64_t step, Communicator& world, c10::Device device);
  void end_step();
  absl::StatusOr<std::string> write(Communicator& world);

  StepTraceOptions options_;
  Recorder recorder_;
  std::optional<Listener> listener_;  // while recording
  c10::Device device_ = c10::kCPU;
  int64_t zero_ns_ = 0;
  int64_t begun_ = 0, last_ = 0;  // steps that were recorded
  int64_t step_begin_ns_ = 0;
  bool written_ = false;
};

}  // namespace switchyard
