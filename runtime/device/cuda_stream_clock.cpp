#include <mutex>
#include <utility>
#include <vector>

#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAStream.h>

#include "runtime/device/cuda.h"
#include "runtime/device/stream_clock.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {
namespace {

class CudaStreamClock : public StreamClock {
 public:
  CudaStreamClock() {
    synchronise_cuda();
    const int64_t before_ns = Recorder::now();
    zero_.record(c10::cuda::getCurrentCUDAStream());
    synchronise_cuda();
    zero_ns_ = (before_ns + Recorder::now()) / 2;
  }

  int64_t mark() override {
    at::cuda::CUDAEvent now(cudaEventDefault);
    now.record(c10::cuda::getCurrentCUDAStream());
    const std::lock_guard lock(mutex_);
    marks_.push_back(std::move(now));
    return static_cast<int64_t>(marks_.size()) - 1;
  }

  std::vector<int64_t> read() override {
    synchronise_cuda();
    const std::lock_guard lock(mutex_);
    std::vector<int64_t> times;
    for (const at::cuda::CUDAEvent& mark : marks_) {
      times.push_back(zero_ns_ + static_cast<int64_t>(1e6 * static_cast<double>(zero_.elapsed_time(mark))));
    }
    return times;
  }

 private:
  at::cuda::CUDAEvent zero_{cudaEventDefault};  // one that keeps its time
  int64_t zero_ns_ = 0;
  std::mutex mutex_;
  std::vector<at::cuda::CUDAEvent> marks_;
};

}  // namespace

std::unique_ptr<StreamClock> make_cuda_stream_clock() {
  return std::make_unique<CudaStreamClock>();
}

}  // namespace switchyard
