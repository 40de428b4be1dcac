// Ranks as threads of one process: for tests, debugging, and with one rank for a process that runs alone.
#pragma once

#include <memory>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "runtime/comm/communicator.h"
#include "runtime/comm/host_communicator.h"

namespace switchyard {

class Progress;

struct LoopbackOptions {
  absl::Duration timeout = kDefaultCommunicationTimeout;
  std::vector<int> nodes;  // the host that each rank pretends to be on; empty: all on one
};

class Loopback {
 public:
  explicit Loopback(int ranks, const LoopbackOptions& options = {});

  // The world as rank `rank` sees it; each is used by one thread at a time.
  Communicator& rank(int rank) { return *ranks_.at(rank); }
  // Ends every outstanding and future call of all ranks with `reason`. Any thread.
  void abort(const absl::Status& reason);

 private:
  std::shared_ptr<Progress> progress_;
  std::vector<std::unique_ptr<Communicator>> ranks_;
};

}  // namespace switchyard
