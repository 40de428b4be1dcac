// Gradient reduction in flight while backward still computes, on the 63 M shape of configs/bench_63m.yaml.
#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "launch/config/binder.h"
#include "launch/trace/listener.h"
#include "launch/train/job.h"
#include "launch/train/train_step.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

// The second step of each of two ranks.
std::vector<std::vector<Span>> spans_of_a_step(const RunConfig& config) {
  std::vector<std::vector<Span>> spans(2);
  run_ranks(2, [&](Communicator& world) {
    const auto shape = resolve_mesh(config.parallel, 2, config.model.attention.heads, config.model.attention.kv_heads);
    ASSERT_TRUE(shape.ok()) << shape.status();
    const auto mesh = Mesh::create(world, *shape);
    ASSERT_TRUE(mesh.ok()) << mesh.status();
    Recorder recorder;
    const std::unique_ptr<Job> job = build_job(config, config.model.vocabulary, **mesh, c10::kCPU, recorder);
    const absl::Status opened = open_data(*job);
    ASSERT_TRUE(opened.ok()) << opened;
    job->optimizer->initialise_all(config.run.seed);
    for (int step = 0; step < 2; ++step) {
      recorder.record_spans(step == 1);
      const Listener listener(recorder);
      const auto outcome = train_step(*job);
      ASSERT_TRUE(outcome.ok()) << outcome.status();
    }
    spans[world.rank()] = recorder.take_spans();
  });
  return spans;
}

std::vector<Span> named(const std::vector<Span>& spans, const std::string& name) {
  std::vector<Span> found;
  std::copy_if(spans.begin(), spans.end(), std::back_inserter(found), [&](const Span& s) { return s.name == name; });
  return found;
}

struct Reductions {
  int all = 0;
  int begun = 0;    // before the end of the backward of the last part
  int noticed = 0;  // complete, before that
};

// Of each rank.
std::vector<Reductions> reductions_of_a_step(std::vector<std::string> overrides) {
  // Few tokens, so that the test is short; the gradients have the size that they have. Two parts: only the last may
  // reduce.
  overrides.insert(overrides.end(), {"train.global_batch=4", "train.accumulation=2"});
  const auto config = read_config<RunConfig>(SWITCHYARD_SOURCE "/configs/bench_63m.yaml", overrides);
  EXPECT_TRUE(config.ok()) << config.status();
  std::vector<Reductions> ranks;
  for (const std::vector<Span>& spans : spans_of_a_step(*config)) {
    const std::vector<Span> backward = named(spans, "backward");
    EXPECT_EQ(backward.size(), 2u);
    Reductions counted;
    for (const Span& reduction : named(spans, "reduce gradients")) {
      EXPECT_GT(reduction.begin_ns, backward.back().begin_ns);
      ++counted.all;
      counted.begun += reduction.begin_ns < backward.back().end_ns;
      counted.noticed += reduction.end_ns < backward.back().end_ns;
    }
    ranks.push_back(counted);
  }
  return ranks;
}

TEST(Overlap, ReductionsBeginDuringBackward) {
  for (const Reductions& rank : reductions_of_a_step({})) {
    EXPECT_GE(rank.all, 2);
    EXPECT_GE(rank.begun, 2);
  }
}

TEST(Overlap, SmallBucketsAreDoneBeforeBackwardIs) {
  for (const Reductions& rank : reductions_of_a_step({"communication.bucket_mb=4"})) {
    EXPECT_GE(rank.all, 6);
    EXPECT_GE(rank.begun, rank.all - 1);
    EXPECT_GE(rank.noticed, 2);
  }
}

}  // namespace
}  // namespace switchyard
