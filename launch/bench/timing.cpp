#include "launch/bench/timing.h"

#include <cmath>

#include "launch/trace/listener.h"
#include "launch/train/flops.h"
#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"
#include "runtime/device/memory.h"

namespace switchyard {
namespace {

constexpr double kPeakSeconds = 0.3;

}  // namespace

absl::StatusOr<double> slowest_ms(const std::function<void()>& work, Communicator& world, double& own_ms) {
  SY_RETURN_IF_ERROR(world.barrier().wait());
  const int64_t start = Recorder::now();
  work();
  const double own = static_cast<double>(Recorder::now() - start) / 1e6;
  own_ms += own;
  return reduce_number(world, own, ReduceOp::kMax);
}

absl::StatusOr<double> slowest_ms(const std::function<void()>& work, Recorder& recorder, Communicator& world,
                                  double& own_ms) {
  const auto heard = [&] {
    recorder.record_spans(true);
    const Listener listener(recorder);
    work();
    recorder.record_spans(false);
  };
  return slowest_ms(heard, world, own_ms);
}

absl::StatusOr<double> peak_gflops(const at::TensorOptions& options, Communicator& world) {
  SY_RETURN_IF_ERROR(world.barrier().wait());
  SY_ASSIGN_OR_RETURN(const double all, reduce_number(world, measure_peak(options, kPeakSeconds), ReduceOp::kSum));
  return all / world.size() / 1e9;
}

absl::StatusOr<int64_t> most_memory(c10::Device device, Communicator& world) {
  SY_ASSIGN_OR_RETURN(const double most, reduce_number(world, static_cast<double>(peak_bytes(device)), ReduceOp::kMax));
  return std::llround(most);
}

}  // namespace switchyard
