// Requests to stop from outside. While an object lives, SIGUSR1 (sent by launch/train.sh), SIGTERM (a scheduler) and
// SIGINT (Ctrl-C without a launcher) only set a flag, which the training loop reads between steps: it finishes the
// step, saves and ends with 75. A second SIGINT ends the process at once.
#pragma once

#include <csignal>

namespace switchyard {

class StopSignals {
 public:
  StopSignals();  // one at a time: a bug otherwise
  // Restores what was there for SIGTERM and SIGINT; SIGUSR1 is ignored from now on: a run that has ended has nothing to
  // stop, and must not be killed by it while it leaves MPI.
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // The first signal that arrived, or 0.
  int received() const;

 private:
  struct sigaction before_[3];
};

}  // namespace switchyard
