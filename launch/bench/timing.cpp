#include "launch/bench/timing.h"

#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include <c10/core/TensorOptions.h>

#include "launch/trace/listener.h"
#include "launch/train/flops.h"
#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"
#include "runtime/device/device.h"
#include "runtime/device/memory.h"
#include "runtime/device/stream_clock.h"

namespace switchyard {
namespace {

constexpr double kPeakSeconds = 0.3;

// From a barrier on until the device is done.
absl::StatusOr<double> this_ranks_ms(const std::function<void()>& work, const BenchSite& site) {
  synchronise(site.device);
  SY_RETURN_IF_ERROR(site.world.barrier().wait());
  const int64_t start = Recorder::now();
  work();
  synchronise(site.device);
  return static_cast<double>(Recorder::now() - start) / 1e6;
}

}  // namespace

absl::StatusOr<double> slowest_ms(const std::function<void()>& work, const BenchSite& site, double& own_ms) {
  SY_ASSIGN_OR_RETURN(const double own, this_ranks_ms(work, site));
  own_ms += own;
  return reduce_number(site.world, own, ReduceOp::kMax);
}

absl::StatusOr<double> slowest_ms(const std::function<void()>& work, Recorder& recorder, const BenchSite& site,
                                  double& own_ms) {
  std::unique_ptr<StreamClock> clock = make_stream_clock(site.device);
  std::optional<Listener> listener;
  const auto heard = [&] {
    recorder.record_spans(true);
    listener.emplace(recorder, std::move(clock));
    work();
  };
  SY_ASSIGN_OR_RETURN(const double own, this_ranks_ms(heard, site));
  listener.reset();
  recorder.record_spans(false);
  own_ms += own;
  return reduce_number(site.world, own, ReduceOp::kMax);
}

absl::StatusOr<double> peak_gflops(at::ScalarType dtype, const BenchSite& site) {
  SY_RETURN_IF_ERROR(site.world.barrier().wait());
  const double own = measure_peak(at::dtype(dtype).device(site.device), kPeakSeconds);
  SY_ASSIGN_OR_RETURN(const double all, reduce_number(site.world, own, ReduceOp::kSum));
  return all / site.world.size() / 1e9;
}

absl::StatusOr<int64_t> most_memory(const BenchSite& site) {
  const auto own = static_cast<double>(peak_bytes(site.device));
  SY_ASSIGN_OR_RETURN(const double most, reduce_number(site.world, own, ReduceOp::kMax));
  return std::llround(most);
}

}  // namespace switchyard
