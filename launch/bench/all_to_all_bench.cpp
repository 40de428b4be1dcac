#include "launch/bench/all_to_all_bench.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <utility>

#include <ATen/ATen.h>

#include "launch/bench/all_to_all_sizes.h"
#include "launch/config/run_config.h"
#include "parallel/topology/mesh.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"
#include "runtime/numerics/median.h"

namespace switchyard {
namespace {

// Short calls are timed together, as many as take about this long, so that neither the clock nor the barrier counts.
constexpr double kLeastMs = 2;
constexpr double kMostCalls = 100;

int64_t sum(const std::vector<int64_t>& rows) {
  return std::accumulate(rows.begin(), rows.end(), int64_t{0});
}

at::ScalarType dtype_of(const AllToAllBenchOptions& options) {
  TrainConfig config;
  config.precision = options.precision;
  return compute_dtype(config.compute_precision());
}

// The dispatch group over all ranks, and buffers that all sizes share.
class Exchanges {
 public:
  Exchanges(Communicator& group, const std::vector<RowCounts>& sizes, int64_t width, at::ScalarType dtype)
      : group_(group), row_bytes_(width * static_cast<int64_t>(c10::elementSize(dtype))) {
    int64_t rows = 0;
    for (const RowCounts& size : sizes) rows = std::max({rows, sum(size.sent), sum(size.received)});
    send_RD_ = at::ones({rows, width}, dtype);
    received_RD_ = at::ones({rows, width}, dtype);
  }

  void run(const RowCounts& size) const {
    throw_if_error(group_
                       .all_to_all(send_RD_.narrow(0, 0, sum(size.sent)), size.sent,
                                   received_RD_.narrow(0, 0, sum(size.received)), size.received)
                       .wait());
  }
  void copy_from_host(const RowCounts& size) const {
    std::memcpy(received_RD_.data_ptr(), send_RD_.const_data_ptr(), from_host(size) * row_bytes_);
  }
  int64_t bytes(const RowCounts& size) const { return std::max(sum(size.sent), sum(size.received)) * row_bytes_; }
  int64_t own_bytes(const RowCounts& size) const { return size.own * row_bytes_; }

 private:
  int64_t from_host(const RowCounts& size) const {
    int64_t rows = 0;
    for (int rank = 0; rank < group_.size(); ++rank) {
      if (group_.node_of(rank) == group_.node_of(group_.rank())) rows += size.received[rank];
    }
    return rows;
  }

  Communicator& group_;
  const int64_t row_bytes_;
  at::Tensor send_RD_, received_RD_;
};

struct Timed {
  std::function<void()> work;
  int64_t calls = 1;
  std::vector<double> ms = {};

  absl::Status time(Communicator& world) {
    double own = 0;
    const auto all = [this] {
      for (int64_t i = 0; i < calls; ++i) work();
    };
    SY_ASSIGN_OR_RETURN(const double slowest, slowest_ms(all, world, own));
    ms.push_back(slowest / static_cast<double>(calls));
    return absl::OkStatus();
  }
  // The same number on all ranks, after a call that warms up.
  absl::Status choose_calls(Communicator& world) {
    work();
    SY_RETURN_IF_ERROR(time(world));
    calls = static_cast<int64_t>(std::clamp(std::ceil(kLeastMs / ms.back()), 1.0, kMostCalls));
    ms.clear();
    return absl::OkStatus();
  }
};

// What is known of a size without its times.
absl::StatusOr<AllToAllSize> weigh(const Exchanges& exchanges, const RowCounts& counts, Recorder& recorder,
                                   Communicator& world) {
  AllToAllSize size{.rows = counts.rows};
  SY_ASSIGN_OR_RETURN(const double most,
                      reduce_number(world, static_cast<double>(exchanges.bytes(counts)), ReduceOp::kMax));
  size.bytes = std::llround(most);
  recorder.record_spans(true);
  exchanges.run(counts);
  recorder.record_spans(false);
  recorder.take_spans();
  record_own_bytes(recorder, exchanges.own_bytes(counts));
  SY_ASSIGN_OR_RETURN(size.tiers, take_tier_bytes(recorder, 1, world));
  return size;
}

std::optional<AlphaBeta> fit(const std::vector<AllToAllSize>& sizes) {
  std::vector<TimedTransfer> transfers;
  for (const AllToAllSize& size : sizes) {
    if (size.bytes > 0) transfers.push_back({static_cast<double>(size.bytes), size.ms});
  }
  return fit_alpha_beta(transfers);
}

}  // namespace

absl::StatusOr<AllToAllBench> bench_all_to_all(const AllToAllBenchOptions& options, Recorder& recorder,
                                               Communicator& world, const BenchProgress& progress) {
  const ParallelConfig parallel{.data = world.size(), .expert = world.size()};
  SY_ASSIGN_OR_RETURN(const MeshShape shape, agree(world, resolve_mesh(parallel, world.size(), 1, 1)));
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Mesh> mesh, Mesh::create(world, shape));
  Communicator& group = mesh->group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch);
  const at::ScalarType dtype = dtype_of(options);
  const int64_t row_bytes = options.width * static_cast<int64_t>(c10::elementSize(dtype));
  SY_ASSIGN_OR_RETURN(const std::vector<RowCounts> counts, exchange_sizes(options, row_bytes, group));
  const Exchanges exchanges(group, counts, options.width, dtype);

  AllToAllBench result;
  std::vector<std::pair<Timed, Timed>> timed;  // exchange and memcpy
  for (const RowCounts& each : counts) {
    SY_ASSIGN_OR_RETURN(AllToAllSize size, weigh(exchanges, each, recorder, world));
    result.sizes.push_back(size);
    auto& [wire, floor] =
        timed.emplace_back(Timed{[&] { exchanges.run(each); }}, Timed{[&] { exchanges.copy_from_host(each); }});
    SY_RETURN_IF_ERROR(wire.choose_calls(world));
    SY_RETURN_IF_ERROR(floor.choose_calls(world));
  }
  for (int64_t i = 0; i < options.repeats; ++i) {
    if (progress) progress(i, options.repeats);
    for (auto& [wire, floor] : timed) {
      SY_RETURN_IF_ERROR(wire.time(world));
      SY_RETURN_IF_ERROR(floor.time(world));
    }
  }
  if (progress) progress(options.repeats, options.repeats);
  for (size_t i = 0; i < timed.size(); ++i) {
    result.sizes[i].ms = median(timed[i].first.ms);
    result.sizes[i].floor_ms = median(timed[i].second.ms);
  }
  result.model = fit(result.sizes);
  return result;
}

}  // namespace switchyard
