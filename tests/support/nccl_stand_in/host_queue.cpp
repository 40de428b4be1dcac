#include "tests/support/nccl_stand_in/host_queue.h"

#include <cstring>
#include <future>

#include "runtime/comm/reduce.h"

namespace switchyard {
namespace {

class HostMark : public Mark {
 public:
  explicit HostMark(std::shared_future<void> reached) : reached_(std::move(reached)) {}
  void hold_current() override { reached_.wait(); }
  bool reached() override { return reached_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

 private:
  const std::shared_future<void> reached_;
};

}  // namespace

HostQueue::HostQueue(c10::DeviceType device_type) : device_type_(device_type), thread_([this] { run(); }) {}

HostQueue::~HostQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void HostQueue::push(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
}

void HostQueue::copy(void* to, const void* from, int64_t bytes) {
  push([to, from, bytes] { std::memcpy(to, from, static_cast<size_t>(bytes)); });
}

void HostQueue::reduce(const Reduction& reduction) {
  push([reduction] { reduce_in_order(reduction); });
}

std::shared_ptr<Mark> HostQueue::mark() {
  const auto reached = std::make_shared<std::promise<void>>();
  auto result = std::make_shared<HostMark>(reached->get_future().share());
  push([reached] { reached->set_value(); });
  return result;
}

void HostQueue::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    const std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    lock.lock();
  }
}

std::unique_ptr<DeviceQueue> make_host_queue() {
  return std::make_unique<HostQueue>(c10::kCPU);
}

}  // namespace switchyard
