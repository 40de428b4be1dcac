// MPI for one process, from MPI_Init to MPI_Finalize, and the communicator over all of its ranks. MPI's own header
// stays behind this one.
#pragma once

#include <memory>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "runtime/comm/host_communicator.h"
#include "runtime/comm/shared_segments.h"

namespace switchyard {

struct MpiOptions {
  absl::Duration timeout = kDefaultCommunicationTimeout;
};

class MpiSession {
 public:
  // Once in a process, before anything else of MPI; collective over all ranks that the launcher started. Without a
  // launcher the world is this process alone. kUnavailable where MPI can't serve several threads.
  static absl::StatusOr<std::unique_ptr<MpiSession>> start(int* argc, char*** argv, const MpiOptions& options = {});
  // Finalizes, collectively, when the outstanding calls have ended; every communicator split from world() must be gone.
  // After a communication failure other ranks may never come here: call abort() instead.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  Communicator& world() { return *world_; }
  // The default of world() from now on, and of what is split from it.
  void set_timeout(absl::Duration timeout) { world_->set_timeout(timeout); }
  // Of all that goes over the wires of world(), and of what is split from it, from now on. Null: none.
  void observe(WireObserver observer) { world_->observe(std::move(observer)); }
  // Ends the processes of all ranks; the launcher exits with `exit_code` or, where it is still there after 30 seconds,
  // is ended by a signal. Local.
  [[noreturn]] void abort(int exit_code);

 private:
  MpiSession() = default;

  SharedSegments segments_;
  std::shared_ptr<Progress> progress_;
  std::unique_ptr<HostCommunicator> world_;
};

}  // namespace switchyard
