#include "runtime/comm/progress.h"

#include <chrono>

namespace switchyard {
namespace {

// Polling costs a few microseconds; this hides all of the wire's time at a few percent of a core.
constexpr std::chrono::microseconds kPollInterval(200);

}  // namespace

Progress::Progress() : thread_([this] { run(); }) {}

Progress::~Progress() {
  stop();
}

void Progress::finish() {
  {
    std::unique_lock lock(mutex_);
    drained_.wait(lock, [this] { return active_.empty() || !failed_.empty(); });
  }
  stop();
}

void Progress::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Progress::add(std::shared_ptr<Operation> operation) {
  absl::Status aborted;
  bool idle = false;
  {
    const std::lock_guard lock(mutex_);
    aborted = aborted_;
    active_.push_back(operation);
    idle = std::exchange(idle_, false);
  }
  if (!aborted.ok()) operation->fail(aborted);
  if (idle) wake_.notify_one();
}

void Progress::abort(const absl::Status& reason) {
  std::vector<std::shared_ptr<Operation>> active;
  {
    const std::lock_guard lock(mutex_);
    if (aborted_.ok()) aborted_ = reason;
    active = active_;
  }
  for (const auto& operation : active) operation->fail(reason);
}

void Progress::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (active_.empty()) {
      idle_ = true;
      wake_.wait(lock, [this] { return stopping_ || !active_.empty(); });
      idle_ = false;
    }
    lock.unlock();
    // Before the poll, not after: what its own rank waits for at once is over by then.
    std::this_thread::sleep_for(kPollInterval);
    poll_all();
    lock.lock();
  }
}

void Progress::poll_all() {
  std::vector<std::shared_ptr<Operation>> active;
  {
    const std::lock_guard lock(mutex_);
    active = active_;
  }
  for (const auto& operation : active) operation->poll();
  const std::lock_guard lock(mutex_);
  std::erase_if(active_, [this](const auto& operation) {
    const bool done = operation->done();
    if (done && operation->failed()) failed_.push_back(operation);
    return done;
  });
  if (active_.empty() || !failed_.empty()) drained_.notify_all();
}

}  // namespace switchyard
