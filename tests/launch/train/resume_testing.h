// Runs of a small job that stop and go on, ranks as threads, and what their folders hold afterwards.
#pragma once

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "launch/config/binder.h"
#include "launch/train/train.h"
#include "parallel/checkpoint/checkpoint.h"
#include "runtime/base/status.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {

// Something of everything: grouped heads, an odd vocabulary, a dense and a mixture layer, experts that no number of
// ranks divides, two parts a step, parts of two sequences (so that of three data ranks one has none), validation.
inline constexpr char kResumeConfig[] = R"(
run: {dir: unset, device: cpu, threads: 1, peak_gflops: 1}
model:
  width: 16
  layers: 2
  vocabulary: 61
  attention: {heads: 4, kv_heads: 2, head_width: 4}
  feed_forward: {width: 24}
  moe: {first_dense: 1, experts: 5, experts_per_token: 2, expert_width: 12, shared_experts: 1}
data: {train: random, validation: random, validation_sequences: 4, sequence: 12}
train: {steps: 6, global_batch: 4, accumulation: 2, precision: fp64, validate_every: 2}
optimizer: {lr: 0.01, schedule: {kind: cosine, warmup: 2, min_lr: 0.001}}
checkpoint: {every: 0, keep: 0}
)";

class ResumeTest : public testing::Test {
 protected:
  RunConfig config(const std::string& folder, std::vector<std::string> overrides = {}) const {
    RunConfig config;
    overrides.push_back("run.dir=" + (folder_ / folder).string());
    const absl::Status status = bind_text(schema_of(config), kResumeConfig, "the test", overrides);
    EXPECT_TRUE(status.ok()) << status;
    return config;
  }

  // What all ranks return from a run that rank 1 of several (0 of one) asks to stop after `stop_after` of its steps.
  static absl::Status run(const RunConfig& config, int ranks, int stop_after = 0) {
    std::vector<absl::Status> results(ranks);
    run_ranks(ranks, [&](Communicator& world) {
      TrainOptions options{.config = config, .command = "the command"};
      if (stop_after > 0 && world.rank() == (ranks > 1 ? 1 : 0)) {
        options.stop_requested = [steps = 0, stop_after]() mutable { return ++steps == stop_after; };
      }
      results[world.rank()] = train(options, world);
    });
    for (const absl::Status& result : results) EXPECT_EQ(result.code(), results[0].code()) << result;
    return results[0];
  }
  static void expect_done(const RunConfig& config, int ranks) {
    const absl::Status status = run(config, ranks);
    EXPECT_TRUE(status.ok()) << status;
  }
  static void expect_stopped(const RunConfig& config, int ranks, int after) {
    const absl::Status status = run(config, ranks, after);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(error_category(status), ErrorCategory::kStoppedEarly) << status;
  }

  // The records of metrics.jsonl without what only the clock and the machine decide.
  static std::vector<nlohmann::json> records(const RunConfig& config) {
    std::ifstream file(config.run.dir + "/metrics.jsonl");
    std::vector<nlohmann::json> found;
    for (std::string line; std::getline(file, line);) {
      found.push_back(nlohmann::json::parse(line));
      for (const char* key : {"tokens_per_second", "step_seconds", "memory_bytes", "mfu"}) found.back().erase(key);
    }
    return found;
  }

  static std::filesystem::path checkpoint_path(const RunConfig& config, int step) {
    char name[32];
    std::snprintf(name, sizeof name, "step-%08d", step);
    return std::filesystem::path(config.run.dir) / "checkpoints" / name;
  }
  // Every tensor of a checkpoint, whole, as bytes.
  static std::map<std::string, std::string> tensors(const RunConfig& config, int step) {
    std::map<std::string, std::string> found;
    const auto checkpoint = Checkpoint::open(checkpoint_path(config, step));
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    if (!checkpoint.ok()) return found;
    for (const StoredTensor& stored : (*checkpoint)->tensors()) {
      const at::ScalarType dtype = stored.dtype == Dtype::kF64 ? at::kDouble : at::kFloat;
      const at::Tensor whole = at::empty(stored.shape, dtype);
      const TensorPart part{
          .name = stored.name, .dtype = dtype, .shape = stored.shape, .box = Box::whole(stored.shape), .data = whole};
      const absl::Status status = (*checkpoint)->read({&part, 1});
      EXPECT_TRUE(status.ok()) << status;
      found[stored.name].assign(static_cast<const char*>(whole.const_data_ptr()), whole.nbytes());
    }
    return found;
  }

  static std::string names_that_differ(const std::map<std::string, std::string>& a,
                                       const std::map<std::string, std::string>& b) {
    std::string names;
    for (const auto& [name, bytes] : a) {
      const auto other = b.find(name);
      if (other == b.end() || other->second != bytes) names += name + " ";
    }
    return names;
  }

  TemporaryFolder folder_;
};

}  // namespace switchyard
