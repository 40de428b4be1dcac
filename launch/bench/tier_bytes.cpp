#include "launch/bench/tier_bytes.h"

#include <cmath>
#include <map>
#include <utility>

#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"

namespace switchyard {
namespace {

constexpr char kOwnBytes[] = "bench.own_bytes", kNodeBytes[] = "bench.node_bytes",
               kRemoteBytes[] = "bench.remote_bytes";

}  // namespace

WireObserver record_bytes(Recorder& recorder, std::string groups) {
  return [&recorder, groups = std::move(groups)](const FinishedOperation& done) {
    if (!recorder.records_spans() || !done.label.group.ends_with(groups)) return;
    recorder.scalar(kNodeBytes, static_cast<double>(done.node_bytes), Fold::kSum);
    recorder.scalar(kRemoteBytes, static_cast<double>(done.remote_bytes), Fold::kSum);
  };
}

void record_own_bytes(Recorder& recorder, int64_t bytes) {
  recorder.scalar(kOwnBytes, static_cast<double>(bytes), Fold::kSum);
}

absl::StatusOr<TierBytes> take_tier_bytes(Recorder& recorder, int64_t repeats, Communicator& world) {
  std::map<std::string, double> sums = recorder.take_scalars();
  const auto mean = [&](const char* tier) -> absl::StatusOr<int64_t> {
    SY_ASSIGN_OR_RETURN(const double all, reduce_number(world, sums[tier], ReduceOp::kSum));
    return std::llround(all / static_cast<double>(repeats) / world.size());
  };
  TierBytes bytes;
  SY_ASSIGN_OR_RETURN(bytes.own, mean(kOwnBytes));
  SY_ASSIGN_OR_RETURN(bytes.node, mean(kNodeBytes));
  SY_ASSIGN_OR_RETURN(bytes.remote, mean(kRemoteBytes));
  return bytes;
}

}  // namespace switchyard
