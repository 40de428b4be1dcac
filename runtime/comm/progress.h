// Keeps outstanding operations moving while their ranks compute: a thread that polls them now and then, and sleeps
// while there are none. One for a process; all communicators of the process share it.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <absl/status/status.h>

#include "runtime/comm/operation.h"

namespace switchyard {

class Progress {
 public:
  Progress();
  ~Progress();  // ends the thread; what is outstanding stays unfinished, and lets go of its buffers
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void add(std::shared_ptr<Operation> operation);
  // All outstanding operations, and all that are added from now on, fail with `reason`.
  void abort(const absl::Status& reason);
  // Ends the thread when nothing is outstanding any more or something has failed, since then peers may be gone.
  void finish();

 private:
  void run();
  void stop();
  void poll_all();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable drained_;
  bool stopping_ = false;
  bool idle_ = false;     // the thread waits for work
  absl::Status aborted_;  // ok: no
  std::vector<std::shared_ptr<Operation>> active_;
  std::vector<std::shared_ptr<Operation>> failed_;  // kept: peers may still reach into their buffers
  std::thread thread_;                              // last, since it uses the others
};

}  // namespace switchyard
