// Hears what layers name (runtime/telemetry/in_span.h), every backward function of autograd, and the wires.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <ATen/record_function.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include "runtime/comm/wire_observer.h"
#include "runtime/device/stream_clock.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

// From construction to destruction, on the thread that made it and on those that autograd has for its devices, as spans
// of lane "compute". One a thread at a time.
class Listener {
 public:
  // `clock`: of the device that computes, whose times are then those of spans; the destructor waits for it and records
  // them. Null: the host computes, and spans are recorded as they end.
  explicit Listener(Recorder& recorder, std::unique_ptr<StreamClock> clock = nullptr);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

 private:
  class Ear;
  const std::shared_ptr<Ear> ear_;
  const c10::DebugInfoGuard known_;  // which autograd takes to its threads, with the callbacks
  const at::CallbackHandle handle_;
};

// Records what goes over wires as spans of lane "wire", while `recorder` (borrowed) records spans.
WireObserver record_wires(Recorder& recorder);

// Adds up as scalars what this rank sends to others on its host and to other hosts, in groups whose name ends with
// `groups` ("/dispatch"; empty: in all), while `recorder` (borrowed) records spans.
inline constexpr char kNodeBytes[] = "node_bytes", kRemoteBytes[] = "remote_bytes";
WireObserver record_bytes(Recorder& recorder, std::string groups = "");

// Of a node of autograd, as people call it: "torch::autograd::CppNode<switchyard::(anonymous namespace)::Combine>" is
// "Combine backward", "MulBackward0" is "Mul backward".
std::string backward_name(std::string_view node);

}  // namespace switchyard
