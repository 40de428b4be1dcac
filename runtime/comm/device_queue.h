// A queue of work on a device beside the one that its rank computes on: on CUDA a stream and events. Tests have one
// that is a thread of the host.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include <c10/core/Device.h>

#include "runtime/comm/reduction.h"

namespace switchyard {

// A place in a queue.
class Mark {
 public:
  virtual ~Mark() = default;
  // What the calling thread computes from now on starts after the queue has come here.
  virtual void hold_current() = 0;
  virtual bool reached() = 0;
};

// Used by one thread at a time.
class DeviceQueue {
 public:
  virtual ~DeviceQueue() = default;
  virtual c10::DeviceType device_type() const = 0;
  // What is queued from now on starts after what the calling thread has computing now.
  virtual void follow_current() = 0;
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;
  virtual void reduce(const Reduction& reduction) = 0;
  virtual std::shared_ptr<Mark> mark() = 0;
  // What nccl.h takes for a stream.
  virtual void* handle() = 0;
};

// Each call makes another queue on the device that this process was bound to.
using MakeQueue = std::function<std::unique_ptr<DeviceQueue>()>;

}  // namespace switchyard
