// Told of what went over the host wires of a rank, for traces.
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

// Called as an operation between several ranks ends well, before anybody who waits for it goes on, by the thread that
// notices it: a rank's or the one that makes progress, several at once. It must neither communicate nor throw.
using WireObserver = std::function<void(const FinishedOperation& operation)>;

}  // namespace switchyard
