#include "launch/train/signals.h"

#include <atomic>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

constexpr int kSignals[] = {SIGUSR1, SIGTERM, SIGINT};

// A handler reaches nothing but statics; these are the only ones, and lock-free as handlers need.
std::atomic<int> received_signal{0};
std::atomic<bool> installed{false};
static_assert(std::atomic<int>::is_always_lock_free);

void note(int signal) {
  int none = 0;
  received_signal.compare_exchange_strong(none, signal);
}

}  // namespace

StopSignals::StopSignals() {
  SY_CHECK(!installed.exchange(true));
  received_signal.store(0);
  for (int i = 0; i < 3; ++i) {
    struct sigaction action = {};
    action.sa_handler = note;
    action.sa_flags = SA_RESTART;
    if (kSignals[i] == SIGINT) action.sa_flags |= SA_RESETHAND;
    sigemptyset(&action.sa_mask);
    SY_CHECK_EQ(sigaction(kSignals[i], &action, &before_[i]), 0);
  }
}

StopSignals::~StopSignals() {
  for (int i = 0; i < 3; ++i) {
    if (kSignals[i] == SIGUSR1) {
      std::signal(SIGUSR1, SIG_IGN);
    } else {
      sigaction(kSignals[i], &before_[i], nullptr);
    }
  }
  installed.store(false);
}

int StopSignals::received() const {
  return received_signal.load();
}

}  // namespace switchyard
