// When a device comes to what it was given to do, which is later than the host gave it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <c10/core/Device.h>

namespace switchyard {

class StreamClock {
 public:
  virtual ~StreamClock() = default;
  // Marks where the stream is that this thread computes on: the number of the mark, from 0. Any thread.
  virtual int64_t mark() = 0;
  // Waits for the device. By number of the mark, when its stream came there, in nanoseconds of Recorder::now(): to some
  // microseconds, among themselves to one in the first seconds. Once, after the last mark.
  virtual std::vector<int64_t> read() = 0;
};

// For a CUDA device, that of this process. Null for others: what they do is done when the call that asks for it is.
std::unique_ptr<StreamClock> make_stream_clock(c10::Device device);

// Declared for cuda_stream_clock.cpp; without CUDA a bug.
std::unique_ptr<StreamClock> make_cuda_stream_clock();

}  // namespace switchyard
