#include "launch/bench/step_bench.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/bench/step_split.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "tests/launch/bench/bench_ranks.h"
#include "tests/support/little_address_space.h"

namespace switchyard {
namespace {

constexpr int64_t kVocabulary = 32;

StepBenchOptions small() {
  StepBenchOptions options{.vocabulary = kVocabulary, .repeats = 1};
  RunConfig& config = options.config;
  config.run.device = "cpu";
  config.model.width = 16;
  config.model.layers = 2;
  config.model.attention = {.heads = 2, .kv_heads = 2, .head_width = 8};
  config.model.feed_forward.width = 32;
  config.model.moe.experts = 4;
  config.model.moe.experts_per_token = 2;
  config.model.moe.expert_width = 16;
  config.data = {.tokenizer = "", .train = "random", .validation = "", .sequence = 8};
  config.train.global_batch = 4;
  config.train.precision = "fp32";
  config.optimizer.schedule.warmup = 0;
  return options;
}

StepBench bench(const StepBenchOptions& options, int ranks, const std::vector<int>& nodes = {}) {
  return bench_on_ranks<StepBench>(
      ranks, nodes, "", [&](Recorder& recorder, Communicator& world) { return bench_step(options, recorder, world); });
}

TEST(StepBench, PartsAddUpToTheStep) {
  const StepBench alone = bench(small(), 1);
  double sum = 0, forward = 0, backward = 0;
  for (const auto& [part, ms] : alone.split_ms) {
    sum += ms;
    if (part.starts_with("forward ")) forward += ms;
    if (part.starts_with("backward ")) backward += ms;
  }
  EXPECT_NEAR(sum, alone.ms, 1e-9 * alone.ms);  // of a single step on a single rank, which waits for nobody
  EXPECT_NEAR(forward, alone.forward_ms, 1e-9 * alone.ms);
  EXPECT_NEAR(backward, alone.backward_ms, 1e-9 * alone.ms);
  for (const char* part :
       {"forward attention", "forward experts", "backward linear", "backward experts", "optimizer"}) {
    EXPECT_GT(alone.split_ms.at(part), 0) << part;
  }
  for (const char* part : {"wire", "backward recompute", "forward shared experts"}) {
    EXPECT_EQ(alone.split_ms.at(part), 0) << part;
  }
  EXPECT_EQ(alone.tokens, 4 * 8);
  EXPECT_GT(alone.floor_ms, 0);
  EXPECT_GT(alone.memory_bytes, 0);
  EXPECT_EQ(alone.bytes.node + alone.bytes.remote, 0);
}

// Alone, each slot's row stays: out and back, forward and backward, and out and back once more where layers are
// computed again.
TEST(StepBench, CountsTheRowsThatStay) {
  const int64_t once = 4 * 8 * 2 * 16 * 4;  // tokens, experts a token, width, bytes of a number
  StepBenchOptions options = small();
  EXPECT_EQ(bench(options, 1).bytes.own, 2 * 4 * once);  // layers, ways
  options.config.train.recompute = "layer";
  const StepBench again = bench(options, 1);
  EXPECT_EQ(again.bytes.own, 2 * 6 * once);
  EXPECT_GT(again.split_ms.at("backward recompute"), 0);
  options.config.train.accumulation = 2;
  EXPECT_EQ(bench(options, 1).bytes.own, 2 * 6 * once);
}

// A dense model on two data ranks: each gradient goes once to the rank that updates its element, and the new value
// back.
TEST(StepBench, BytesByTierAreThoseOfTheReduction) {
  StepBenchOptions options = small();
  options.config.model.moe.experts = 0;
  const int64_t layer = 4 * 16 * 16 + 3 * 32 * 16 + 2 * 16;  // attention, feed-forward, norms
  const int64_t parameters = 2 * kVocabulary * 16 + 2 * layer + 16;
  // Both ranks together send each element twice, and each sends its loss and its norm to the other, 8 bytes each.
  const int64_t mean = parameters * 2 * 4 / 2 + 2 * 8;
  const StepBench near = bench(options, 2);
  EXPECT_EQ(near.bytes.own, 0);
  EXPECT_EQ(near.bytes.node, mean);
  EXPECT_EQ(near.bytes.remote, 0);
  EXPECT_GT(near.split_ms.at("wire"), 0);
  const StepBench far = bench(options, 2, {0, 1});
  EXPECT_EQ(far.bytes.node, 0);
  EXPECT_EQ(far.bytes.remote, mean);
}

TEST(StepBench, SaysWhyRowsGoByMessages) {
  at::set_num_threads(1);  // threads need addresses too
  StepBenchOptions options = small();
  options.config.parallel.expert = 2;
  EXPECT_EQ(bench(options, 2).by_messages, "");
  const LittleAddressSpace little;
  EXPECT_THAT(bench(options, 2).by_messages, testing::HasSubstr("no addresses for shared memory"));
}

TEST(StepBench, RefusesOnAllRanksWhatCannotRun) {
  StepBenchOptions layout = small(), data = small();
  layout.config.parallel.tensor = 3;
  data.config.data.train = "no/such/data";
  for (const auto& [options, category] :
       {std::pair(layout, ErrorCategory::kBadConfig), std::pair(data, ErrorCategory::kMissingInput)}) {
    run_ranks(2, [&](Communicator& world) {
      Recorder recorder;
      const absl::Status status = bench_step(options, recorder, world).status();
      EXPECT_EQ(error_category(status), category);
      EXPECT_TRUE(is_agreed(status));
    });
  }
}

TEST(StepBench, AStepThatDivergesIsNoResult) {
  StepBenchOptions options = small();
  options.config.optimizer.lr = 1e30;
  run_ranks(1, [&](Communicator& world) {
    Recorder recorder;
    EXPECT_EQ(error_category(bench_step(options, recorder, world).status()), ErrorCategory::kDiverged);
  });
}

}  // namespace
}  // namespace switchyard
