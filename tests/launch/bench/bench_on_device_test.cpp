// A layer's benchmark on a device, and the clock of its stream.
#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "launch/bench/layer_bench.h"
#include "runtime/base/status.h"
#include "runtime/comm/nccl.h"
#include "runtime/device/device.h"
#include "runtime/device/stream_clock.h"
#include "tests/launch/bench/bench_ranks.h"
#include "tests/support/device.h"

namespace switchyard {
namespace {

TEST(StreamClock, TellsWhenTheDeviceWasDoneAndNotWhenItWasAsked) {
  SY_DEVICE_OR_SKIP();
  at::Tensor slow = at::ones({4096, 4096}, device);
  slow = at::mm(slow, slow).mul_(1.0 / 4096);  // cuBLAS starts
  const auto clock = make_stream_clock(device);
  const int64_t before_ns = Recorder::now();
  EXPECT_EQ(clock->mark(), 0);
  for (int i = 0; i < 50; ++i) slow = at::mm(slow, slow).mul_(1.0 / 4096);
  EXPECT_EQ(clock->mark(), 1);
  EXPECT_EQ(clock->mark(), 2);
  const int64_t asked_ns = Recorder::now();
  const std::vector<int64_t> times = clock->read();
  const int64_t done_ns = Recorder::now();
  constexpr int64_t kSlack = 200'000;  // of both clocks' zero
  ASSERT_EQ(times.size(), 3U);
  EXPECT_GT(times[0], before_ns - kSlack);
  EXPECT_GT(times[1], asked_ns);
  EXPECT_LT(times[2], done_ns + kSlack);
  EXPECT_LE(times[1], times[2]);
  EXPECT_GT(times[1] - times[0], times[2] - times[1]);
}

TEST(BenchOnDevice, NearlyAllOfALayersTimeIsItsParts) {
  SY_DEVICE_OR_SKIP();
  const LayerBenchOptions options{.tokens = 4096, .width = 512, .expert_width = 2048, .repeats = 5};
  const auto result = bench_on_ranks<LayerBench>(1, {}, "/dispatch", [&](Recorder& recorder, Communicator& world) {
    const auto wires = value_or_throw(make_nccl_world(world, absl::Minutes(1)));
    return bench_layer(options, recorder, BenchSite(world, *wires, device));
  });
  for (const char* part : {"route", "permute", "products", "activation", "combine"}) {
    EXPECT_GT(result.split_ms.at(part), 0) << part;
  }
  EXPECT_GT(result.split_ms.at("products"), 0.5 * result.floor_ms);
  EXPECT_LT(std::abs(result.split_ms.at("rest")), 0.3 * result.ms);
  EXPECT_GT(result.percent_of_peak(), 1);
}

}  // namespace
}  // namespace switchyard
