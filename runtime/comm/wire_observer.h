// Told of what went over the wires of a rank, for traces.
#pragma once

#include <cstdint>
#include <functional>

#include "runtime/comm/operation_label.h"

namespace switchyard {

struct FinishedOperation {
  const OperationLabel& label;
  int64_t node_bytes;    // sent by this rank to others on its host
  int64_t remote_bytes;  // and to other hosts
  int64_t begin_ns;      // of the steady clock
  int64_t end_ns;        // when this rank noticed that it had all
};

// Called as an operation ends well, on the thread that notices it. It must not communicate.
using WireObserver = std::function<void(const FinishedOperation& operation)>;

}  // namespace switchyard
