#include "launch/bench/all_to_all_bench.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>

#include <ATen/ATen.h>

#include "launch/bench/all_to_all_sizes.h"
#include "launch/bench/bench_exchange.h"
#include "launch/bench/dispatched_exchanges.h"
#include "launch/bench/plain_exchanges.h"
#include "launch/train/create_mesh.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"
#include "runtime/numerics/median.h"

namespace switchyard {
namespace {

// Short calls are timed together, as many as take about this long, so that neither the clock nor the barrier counts.
constexpr double kLeastMs = 2;
constexpr double kMostCalls = 100;

RunConfig config_of(const AllToAllBenchOptions& options, int ranks) {
  RunConfig config;
  config.train.precision = options.precision;
  config.parallel = {.data = ranks, .expert = ranks, .shared_memory = false};
  if (options.by_dispatcher()) {
    config.model.moe.experts = options.routed->experts;
    config.parallel.dispatcher = options.routed->dispatcher;
    config.parallel.shared_memory = options.routed->shared_memory;
  }
  return config;
}

absl::StatusOr<std::vector<BenchExchange>> make_exchanges(const AllToAllBenchOptions& options,
                                                          const at::TensorOptions& rows, const Mesh& mesh) {
  Communicator& group = mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch);
  const int64_t row_bytes = options.width * static_cast<int64_t>(rows.dtype().itemsize());
  SY_ASSIGN_OR_RETURN(const std::vector<RowCounts> sizes, exchange_sizes(options, row_bytes, group));
  if (!options.by_dispatcher()) return plain_exchanges(sizes, options.width, rows, group);
  return dispatched_exchanges(sizes, options.routed->experts, options.width, rows, mesh);
}

// Plain copies, by one thread or by the device, in buffers that all sizes share.
class Copies {
 public:
  Copies(const std::vector<BenchExchange>& exchanges, c10::Device device) {
    int64_t most = 0;
    for (const BenchExchange& exchange : exchanges) most = std::max(most, std::ranges::max(exchange.copies));
    from_ = at::ones({most}, at::dtype(at::kByte).device(device));
    to_ = at::ones_like(from_);
  }
  void run(const BenchExchange& exchange) const {
    for (const int64_t bytes : exchange.copies) {
      if (from_.is_cpu()) {
        std::memcpy(to_.data_ptr(), from_.const_data_ptr(), bytes);
      } else {
        to_.narrow(0, 0, bytes).copy_(from_.narrow(0, 0, bytes));
      }
    }
  }

 private:
  at::Tensor from_, to_;
};

struct Timed {
  std::function<void()> work;
  int64_t calls = 1;
  std::vector<double> ms = {};

  absl::Status time(const BenchSite& site) {
    double own = 0;
    const auto all = [this] {
      for (int64_t i = 0; i < calls; ++i) work();
    };
    SY_ASSIGN_OR_RETURN(const double slowest, slowest_ms(all, site, own));
    ms.push_back(slowest / static_cast<double>(calls));
    return absl::OkStatus();
  }
  // The same number on all ranks, after a call that warms up.
  absl::Status choose_calls(const BenchSite& site) {
    work();
    SY_RETURN_IF_ERROR(time(site));
    calls = static_cast<int64_t>(std::clamp(std::ceil(kLeastMs / ms.back()), 1.0, kMostCalls));
    ms.clear();
    return absl::OkStatus();
  }
};

// What is known of a size without its times, once it has run.
absl::StatusOr<AllToAllSize> weigh(const BenchExchange& exchange, Recorder& recorder, Communicator& world) {
  recorder.record_spans(true);
  exchange.run();
  recorder.record_spans(false);
  recorder.take_spans();
  TierBytes moved = take_rank_bytes(recorder);
  moved.own = exchange.own;
  AllToAllSize size{.rows = exchange.rows};
  const int64_t bytes = std::max(moved.node + moved.remote, exchange.received);
  SY_ASSIGN_OR_RETURN(const double most, reduce_number(world, static_cast<double>(bytes), ReduceOp::kMax));
  size.bytes = std::llround(most);
  SY_ASSIGN_OR_RETURN(size.tiers, mean_bytes(moved, 1, world));
  return size;
}

// Fills in the times of result.sizes, those of `exchanges`.
absl::Status measure(const std::vector<BenchExchange>& exchanges, int64_t repeats, const BenchSite& site,
                     const BenchProgress& progress, AllToAllBench& result) {
  const Copies copies(exchanges, site.device);
  std::vector<std::pair<Timed, Timed>> timed;  // exchange and memcpy
  for (const BenchExchange& each : exchanges) {
    auto& [wire, floor] = timed.emplace_back(Timed{each.run}, Timed{[&] { copies.run(each); }});
    SY_RETURN_IF_ERROR(wire.choose_calls(site));
    SY_RETURN_IF_ERROR(floor.choose_calls(site));
  }
  for (int64_t i = 0; i < repeats; ++i) {
    if (progress) progress(i, repeats);
    for (auto& [wire, floor] : timed) {
      SY_RETURN_IF_ERROR(wire.time(site));
      SY_RETURN_IF_ERROR(floor.time(site));
    }
  }
  if (progress) progress(repeats, repeats);
  for (size_t i = 0; i < timed.size(); ++i) {
    result.sizes[i].ms = median(timed[i].first.ms);
    result.sizes[i].floor_ms = median(timed[i].second.ms);
  }
  return absl::OkStatus();
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
                                               const BenchSite& site, const BenchProgress& progress) {
  Communicator& world = site.world;
  const RunConfig config = config_of(options, world.size());
  SY_ASSIGN_OR_RETURN(const MeshShape shape, agree(world, resolve_mesh(config, world.size())));
  AllToAllBench result;
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Mesh> mesh,
                      create_mesh(config, shape, site.device, site.wires, /*tell=*/{}, &result.by_messages));
  const at::ScalarType dtype = compute_dtype(config.train.compute_precision());
  SY_ASSIGN_OR_RETURN(const std::vector<BenchExchange> exchanges,
                      make_exchanges(options, at::dtype(dtype).device(site.device), *mesh));
  for (const BenchExchange& exchange : exchanges) {
    SY_ASSIGN_OR_RETURN(result.sizes.emplace_back(), weigh(exchange, recorder, world));
  }
  SY_ASSIGN_OR_RETURN(result.memory_bytes, most_memory(site));
  SY_RETURN_IF_ERROR(measure(exchanges, options.repeats, site, progress, result));
  result.model = fit(result.sizes);
  return result;
}

}  // namespace switchyard
