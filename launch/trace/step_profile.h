// Where the time of steps is and what they send, step by step: for metrics.jsonl.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>

#include <absl/status/statusor.h>
#include <c10/core/Device.h>

#include "launch/trace/listener.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/wire_observer.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

// Into which a step's time is cut, nothing counted twice:
//   experts    products and activation, forward and backward
//   dispatch   rows into the order of experts and back, weighted sums; forward and backward
//   dense      all else of forward and backward: attention, routers, dense layers, head, norms
//   optimizer
//   wait       for the wires, and for ranks that come later; what is hidden behind computing is not in it
//   other      loading, buckets of gradients, the gradient's norm
inline constexpr std::array<const char*, 6> kStepParts = {"experts", "dispatch", "dense", "optimizer", "wait", "other"};

struct ProfiledStep {
  std::map<std::string, double> seconds;     // by part, means over ranks; their sum is the mean rank's step
  int64_t node_bytes = 0, remote_bytes = 0;  // sent by all ranks to others on their host, and to other hosts
};

// Of one rank's step, which was [begin_ns, end_ns) on lane "compute".
std::map<std::string, double> split_step(std::span<const Span> spans, int64_t begin_ns, int64_t end_ns);

class StepProfile {
 public:
  // The run's.
  Recorder& recorder() { return recorder_; }
  // What the wires are to tell while it lives.
  WireObserver observer();
  // Around each step, on the thread that trains. `device` computes: its times are those of spans. The second is
  // collective over `world`; what it sends itself is not counted. kCommunication.
  void begin_step(c10::Device device);
  absl::StatusOr<ProfiledStep> end_step(Communicator& world);

 private:
  Recorder recorder_;
  std::optional<Listener> listener_;  // within a step
  c10::Device device_ = c10::kCPU;
  int64_t begin_ns_ = 0;
};

}  // namespace switchyard
