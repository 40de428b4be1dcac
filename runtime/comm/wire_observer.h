// Told of what went over the wires of a rank, for traces.
#pragma once

#include <cstdint>

#include "runtime/comm/communicator.h"
#include "runtime/comm/operation_label.h"

namespace switchyard {

// A WireObserver is called as an operation between several ranks ends well, before anybody who waits for it goes on, by
// the thread that notices it: a rank's or the one that makes progress, several at once. It must neither communicate nor
// throw. Of operations on a device, whose end the host does not see, it is told as they are queued.
struct FinishedOperation {
  const OperationLabel& label;
  int64_t node_bytes;    // sent by this rank to others on its host
  int64_t remote_bytes;  // and to other hosts
  int64_t begin_ns;      // of the steady clock
  int64_t end_ns;        // when this rank noticed that it had all; on a device as begin_ns
};

}  // namespace switchyard
