#include "launch/bench/tier_bytes.h"

#include <cmath>
#include <map>

#include "launch/trace/listener.h"
#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"

namespace switchyard {
namespace {

constexpr char kOwnBytes[] = "bench.own_bytes";

}  // namespace

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
