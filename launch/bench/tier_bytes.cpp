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

TierBytes take_rank_bytes(Recorder& recorder) {
  std::map<std::string, double> sums = recorder.take_scalars();
  return {.own = std::llround(sums[kOwnBytes]),
          .node = std::llround(sums[kNodeBytes]),
          .remote = std::llround(sums[kRemoteBytes])};
}

absl::StatusOr<TierBytes> mean_bytes(const TierBytes& all, int64_t repeats, Communicator& world) {
  const auto mean = [&](int64_t bytes) -> absl::StatusOr<int64_t> {
    SY_ASSIGN_OR_RETURN(const double sum, reduce_number(world, static_cast<double>(bytes), ReduceOp::kSum));
    return std::llround(sum / static_cast<double>(repeats) / world.size());
  };
  TierBytes bytes;
  SY_ASSIGN_OR_RETURN(bytes.own, mean(all.own));
  SY_ASSIGN_OR_RETURN(bytes.node, mean(all.node));
  SY_ASSIGN_OR_RETURN(bytes.remote, mean(all.remote));
  return bytes;
}

absl::StatusOr<TierBytes> take_tier_bytes(Recorder& recorder, int64_t repeats, Communicator& world) {
  return mean_bytes(take_rank_bytes(recorder), repeats, world);
}

}  // namespace switchyard
