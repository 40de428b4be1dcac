#include "runtime/comm/cuda_queue.h"

#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "runtime/comm/reduce_cuda.h"
#include "runtime/device/cuda.h"

namespace switchyard {
namespace {

class CudaMark : public Mark {
 public:
  explicit CudaMark(const c10::cuda::CUDAStream& stream) : device_index_(stream.device_index()) {
    event_.record(stream);
  }
  void hold_current() override { event_.block(c10::cuda::getCurrentCUDAStream()); }
  // Also asked by the watchdog's thread, which must not start to use another device.
  bool reached() override {
    const c10::cuda::CUDAGuard guard(device_index_);
    return event_.query();
  }

 private:
  const c10::DeviceIndex device_index_;
  at::cuda::CUDAEvent event_;
};

class CudaQueue : public DeviceQueue {
 public:
  c10::DeviceType device_type() const override { return c10::kCUDA; }

  void follow_current() override {
    at::cuda::CUDAEvent now;
    now.record(c10::cuda::getCurrentCUDAStream());
    now.block(stream_);
  }

  void copy(void* to, const void* from, int64_t bytes) override {
    C10_CUDA_CHECK(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream_.stream()));
  }

  void reduce(const Reduction& r) override {
    const int op = r.op == ReduceOp::kSum ? 0 : r.op == ReduceOp::kMax ? 1 : 2;
    reduce_in_order_cuda({element_of(r.dtype), op, r.rank, r.ranks, r.mine, r.others, r.piece_bytes, r.out},
                         stream_.stream());
  }

  std::shared_ptr<Mark> mark() override { return std::make_shared<CudaMark>(stream_); }
  void* handle() override { return stream_.stream(); }

 private:
  // Ahead of what computes: a wire that starts late delays every peer.
  const c10::cuda::CUDAStream stream_ = c10::cuda::getStreamFromPool(/*isHighPriority=*/true);
};

}  // namespace

std::unique_ptr<DeviceQueue> make_cuda_queue() {
  return std::make_unique<CudaQueue>();
}

}  // namespace switchyard
