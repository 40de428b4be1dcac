#include "runtime/comm/nccl_watchdog.h"

#include <algorithm>
#include <chrono>

namespace switchyard {
namespace {

constexpr std::chrono::milliseconds kInterval(20);

}  // namespace

NcclWatchdog::NcclWatchdog() : thread_([this] { run(); }) {}

NcclWatchdog::~NcclWatchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void NcclWatchdog::add(const std::shared_ptr<NcclGroup>& group) {
  const std::lock_guard lock(mutex_);
  std::erase_if(groups_, [](const auto& known) { return known.expired(); });
  groups_.push_back(group);
}

void NcclWatchdog::run() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kInterval, [this] { return stopping_; })) {
    const std::vector<std::weak_ptr<NcclGroup>> groups = groups_;
    lock.unlock();
    for (const auto& group : groups) {
      if (const auto held = group.lock()) held->watch();
    }
    lock.lock();
  }
}

}  // namespace switchyard
