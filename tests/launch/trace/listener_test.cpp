// What a listener hears on the threads of autograd, and by the clock of a device.
#include "launch/trace/listener.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/telemetry/in_span.h"
#include "tests/support/device_stand_in/device_stand_in.h"
#include "tests/support/ranks.h"
#include "tests/support/slow_clock.h"

namespace switchyard {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<std::string> names_of(const std::vector<Span>& spans) {
  std::vector<std::string> names;
  for (const Span& span : spans) names.push_back(span.name);
  return names;
}

TEST(Listener, HearsAutogradsThreadsOfADevice) {
  run_ranks(2, [](Communicator& world) {
    Recorder recorder;
    recorder.record_spans(true);
    {
      const Listener listener(recorder);
      const at::Tensor x = at::ones({2}).to(device_stand_in(world.rank())).set_requires_grad(true);
      const at::Tensor y = world.rank() == 0 ? x * x : x + x;
      in_span("backward", [&] { y.sum().backward(); });
    }
    const std::vector<std::string> names = names_of(recorder.take_spans());
    EXPECT_THAT(names, Contains("backward"));
    EXPECT_THAT(names, Contains(world.rank() == 0 ? "Mul backward" : "Add backward"));
    EXPECT_THAT(names, Not(Contains(world.rank() == 0 ? "Add backward" : "Mul backward")));
  });
}

TEST(Listener, TimesOfADeviceAreItsOwnAndComeAtTheEnd) {
  Recorder recorder;
  recorder.record_spans(true);
  bool was_read = false;
  {
    const Listener listener(recorder, std::make_unique<SlowClock>(&was_read));
    in_span("outer", [] { in_span("inner", [] {}); });
    EXPECT_THAT(recorder.take_spans(), IsEmpty());
    EXPECT_FALSE(was_read);
  }
  EXPECT_TRUE(was_read);
  std::map<std::string, std::pair<int64_t, int64_t>> milliseconds;
  for (const Span& span : recorder.take_spans()) {
    milliseconds[span.name] = {span.begin_ns / 1'000'000, span.end_ns / 1'000'000};
  }
  const std::map<std::string, std::pair<int64_t, int64_t>> expected = {{"outer", {0, 3}}, {"inner", {1, 2}}};
  EXPECT_EQ(milliseconds, expected);
}

TEST(Listener, HearsNothingAfterItsEnd) {
  Recorder recorder;
  recorder.record_spans(true);
  in_span("around", [&] {
    const Listener listener(recorder);
    in_span("within", [] {});
  });
  in_span("after", [] {});
  EXPECT_THAT(names_of(recorder.take_spans()), ElementsAre("within"));
}

}  // namespace
}  // namespace switchyard
