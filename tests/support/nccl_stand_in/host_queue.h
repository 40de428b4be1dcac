// A stand-in for a CUDA stream: a thread that carries out what is queued, in order.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "runtime/comm/device_queue.h"

namespace switchyard {

class HostQueue : public DeviceQueue {
 public:
  // Of the tensors that stand in for a device's.
  explicit HostQueue(c10::DeviceType device_type);
  ~HostQueue() override;  // carries out what is left

  void push(std::function<void()> task);

  c10::DeviceType device_type() const override { return device_type_; }
  void follow_current() override {}  // the host computes at once
  void copy(void* to, const void* from, int64_t bytes) override;
  void reduce(const Reduction& reduction) override;
  std::shared_ptr<Mark> mark() override;
  void* handle() override { return this; }

 private:
  void run();

  const c10::DeviceType device_type_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::thread thread_;  // last, since it uses the others
};

// The host's tensors stand in for a device's.
std::unique_ptr<DeviceQueue> make_host_queue();

}  // namespace switchyard
