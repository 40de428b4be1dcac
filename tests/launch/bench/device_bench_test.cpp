// Benchmarks on a stand-in for a device, ranks over a stand-in for nccl.h: what is the host's meets nothing of the
// device's, and what travels is what would travel on the host.
#include <memory>

#include <gtest/gtest.h>

#include "launch/bench/all_to_all_bench.h"
#include "launch/bench/layer_bench.h"
#include "launch/bench/step_bench.h"
#include "runtime/base/status.h"
#include "runtime/comm/nccl_communicator.h"
#include "tests/launch/bench/bench_ranks.h"
#include "tests/launch/train/small_run.h"
#include "tests/support/device_stand_in/device_stand_in.h"
#include "tests/support/nccl_stand_in/host_queue.h"

namespace switchyard {
namespace {

// What rank 0 finds; body(recorder, site).
template <typename Result, typename Bench>
Result on_devices(const std::string& groups, const Bench& bench) {
  return bench_on_ranks<Result>(2, {}, groups, [&](Recorder& recorder, Communicator& world) {
    const c10::Device device = device_stand_in(world.rank());
    const auto make_queue = [&] { return std::make_unique<HostQueue>(device.type()); };
    const auto wires = value_or_throw(NcclCommunicator::create(world, make_queue, absl::Minutes(1)));
    auto result = bench(recorder, BenchSite(world, *wires, device));
    throw_if_error(world.barrier().wait());  // no rank leaves while others still need it
    return result;
  });
}

template <typename Result, typename Bench>
Result on_host(const std::string& groups, const Bench& bench) {
  return bench_on_ranks<Result>(2, {}, groups,
                                [&](Recorder& recorder, Communicator& world) { return bench(recorder, world); });
}

void expect_equal_bytes(const TierBytes& a, const TierBytes& b) {
  EXPECT_GT(a.node, 0);
  EXPECT_EQ(a.own, b.own);
  EXPECT_EQ(a.node, b.node);
  EXPECT_EQ(a.remote, b.remote);
}

TEST(DeviceBench, ALayer) {
  const LayerBenchOptions options{.tokens = 32,
                                  .width = 16,
                                  .expert_width = 8,
                                  .experts = 4,
                                  .experts_per_token = 2,
                                  .shared_memory = false,
                                  .precision = "fp64",
                                  .skew = 1.2,
                                  .repeats = 2};
  const auto bench = [&](Recorder& recorder, const BenchSite& site) { return bench_layer(options, recorder, site); };
  const auto result = on_devices<LayerBench>("/dispatch", bench);
  for (const std::string& part : layer_parts()) EXPECT_GT(result.split_ms.at(part), 0) << part;
  EXPECT_GT(result.floor_ms, 0);
  EXPECT_GT(result.peak_gflops, 0);
  EXPECT_GT(result.memory_bytes, 0);
  const auto expected = on_host<LayerBench>("/dispatch", bench);
  EXPECT_EQ(result.load_imbalance, expected.load_imbalance);
  EXPECT_EQ(result.gflops, expected.gflops);
  expect_equal_bytes(result.bytes, expected.bytes);
}

TEST(DeviceBench, AStep) {
  StepBenchOptions options{.config = small_run(), .repeats = 2};
  RunConfig& config = options.config;
  options.vocabulary = config.model.vocabulary;
  config.data.validation.clear();  // nothing validates
  config.parallel.expert = 2;
  const auto bench = [&](Recorder& recorder, const BenchSite& site) { return bench_step(options, recorder, site); };
  const auto result = on_devices<StepBench>("", bench);
  EXPECT_GT(result.forward_ms, 0);
  EXPECT_GT(result.backward_ms, 0);
  for (const char* part : {"forward attention", "backward experts", "optimizer"})
    EXPECT_GT(result.split_ms.at(part), 0) << part;
}

TEST(DeviceBench, AnAllToAll) {
  for (const char* dispatcher : {"", "all_to_all", "deduplicated"}) {
    SCOPED_TRACE(dispatcher);
    AllToAllBenchOptions options{.width = 16, .precision = "fp32", .repeats = 2};
    options.routed = RoutedRows{.tokens = 32, .experts = 4, .experts_per_token = 2};
    options.routed->dispatcher = dispatcher;
    options.routed->shared_memory = false;
    const auto bench = [&](Recorder& recorder, const BenchSite& site) {
      return bench_all_to_all(options, recorder, site);
    };
    const auto result = on_devices<AllToAllBench>("/dispatch", bench);
    const auto expected = on_host<AllToAllBench>("/dispatch", bench);
    ASSERT_EQ(result.sizes.size(), expected.sizes.size());
    for (size_t i = 0; i < result.sizes.size(); ++i) {
      EXPECT_GT(result.sizes[i].ms, 0);
      EXPECT_GT(result.sizes[i].floor_ms, 0);
      if (*dispatcher == 0) expect_equal_bytes(result.sizes[i].tiers, expected.sizes[i].tiers);
    }
  }
}

}  // namespace
}  // namespace switchyard
