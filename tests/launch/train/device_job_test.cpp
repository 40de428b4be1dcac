// A job's steps and validation on a stand-in for a device: as on the host.
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "launch/trace/listener.h"
#include "launch/train/create_mesh.h"
#include "launch/train/job.h"
#include "launch/train/train_step.h"
#include "launch/train/validation.h"
#include "runtime/base/status.h"
#include "tests/launch/train/small_run.h"
#include "tests/support/device_stand_in/device_stand_in.h"
#include "tests/support/ranks.h"
#include "tests/support/slow_clock.h"

namespace switchyard {
namespace {

// Losses of three steps and of a validation.
std::vector<double> losses(const RunConfig& config, c10::Device device) {
  std::vector<double> result;
  run_ranks(1, [&](Communicator& world) {
    const MeshShape shape = value_or_throw(resolve_mesh(config, 1));
    const auto mesh = value_or_throw(create_mesh(config, shape, device, world));
    Recorder recorder;
    const auto job = build_job(config, config.model.vocabulary, *mesh, device, recorder);
    throw_if_error(open_data(*job));
    job->optimizer->initialise_all(5);
    for (int step = 0; step < 3; ++step) {
      result.push_back(value_or_throw(train_step(*job)).loss);
      EXPECT_EQ(job->model->parameters().front()->value().device(), device);
    }
    const Validation validation = value_or_throw(validate(*job));
    result.push_back(validation.loss);
    for (const auto& [layer, use] : validation.expert_use) result.push_back(use.coactivation);
  });
  return result;
}

void expect_same_on_a_device(const std::function<void(RunConfig&)>& change) {
  RunConfig config = small_run();
  change(config);
  const std::vector<double> on_host = losses(config, c10::kCPU), on_device = losses(config, device_stand_in(0));
  ASSERT_EQ(on_host.size(), 6U);
  ASSERT_EQ(on_device.size(), on_host.size());
  for (size_t i = 0; i < on_host.size(); ++i) EXPECT_NEAR(on_device[i], on_host[i], 1e-9) << i;
}

TEST(DeviceJob, TrainsAndValidates) {
  expect_same_on_a_device([](RunConfig&) {});
}
TEST(DeviceJob, TrainsAndValidatesWithARouterOfTheHost) {
  expect_same_on_a_device([](RunConfig& config) {
    config.model.moe.router.kind = "sigmoid";
    config.model.moe.router.balance.bias_rate = 0.01;
    config.model.moe.router.capacity.factor = 1.25;
    config.train.recompute = "activation";
  });
}

// Were some spans the host's, they would lie years away from the others.
TEST(DeviceJob, AllOfAStepIsTimedByTheDevicesClock) {
  RunConfig config = small_run();
  run_ranks(1, [&](Communicator& world) {
    const MeshShape shape = value_or_throw(resolve_mesh(config, 1));
    const auto mesh = value_or_throw(create_mesh(config, shape, device_stand_in(0), world));
    Recorder recorder;
    const auto job = build_job(config, config.model.vocabulary, *mesh, device_stand_in(0), recorder);
    throw_if_error(open_data(*job));
    job->optimizer->initialise_all(5);
    recorder.record_spans(true);
    {
      const Listener listener(recorder, std::make_unique<SlowClock>());
      value_or_throw(train_step(*job));
    }
    std::map<std::string, int64_t> counts;
    int64_t last_ns = 0;
    std::vector<Span> spans = recorder.take_spans();
    std::erase_if(spans, [](const Span& span) { return span.lane != "compute"; });
    for (const Span& span : spans) {
      ++counts[span.name];
      EXPECT_LT(span.begin_ns, span.end_ns) << span.name;
      last_ns = std::max(last_ns, span.end_ns);
    }
    for (const char* name : {"load", "forward", "backward"}) EXPECT_EQ(counts[name], 2) << name;
    for (const char* name : {"wait for gradients", "optimizer"}) EXPECT_EQ(counts[name], 1) << name;
    EXPECT_GT(counts["ExpertsFunction backward"], 0);
    EXPECT_LE(last_ns, 2'000'000 * static_cast<int64_t>(spans.size()));
  });
}

}  // namespace
}  // namespace switchyard
