// Plans of small experiments, and runs of them as they might have been measured.
#pragma once

#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "launch/scale/agreement.h"
#include "launch/scale/plan.h"
#include "launch/trace/step_profile.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {

inline constexpr char kScaleConfig[] = R"(
run: {dir: runs/small}
model:
  width: 16
  layers: 2
  vocabulary: 61
  attention: {heads: 4, kv_heads: 2, head_width: 4}
  feed_forward: {width: 24}
  moe: {first_dense: 1, experts: 4, experts_per_token: 2, expert_width: 12}
data: {train: random, sequence: 16}
train: {global_batch: 4, accumulation: 2, precision: fp32}
)";

class PlannedRuns : public testing::Test {
 protected:
  PlannedRuns() { std::ofstream(config_) << kScaleConfig; }

  ScaleOptions options(std::vector<int> ranks) const { return {.config = config_, .overrides = {}, .ranks = ranks}; }
  std::vector<PlannedRun> plan(const ScaleOptions& options) const {
    auto runs = plan_runs(options, /*threads=*/1);
    EXPECT_TRUE(runs.ok()) << runs.status();
    return runs.ok() ? *std::move(runs) : std::vector<PlannedRun>();
  }

  // Each rank adds 100 tokens/s; losses fall alike.
  static RunFigures figures(const PlannedRun& run) {
    RunFigures figures{.tokens_per_second = 100.0 * run.ranks,
                       .step_seconds = 1,
                       .node_bytes = 1 << 20,
                       .remote_bytes = 2 << 20,
                       .memory_bytes = 1 << 30,
                       .load_imbalance = 1.5};
    for (const char* part : kStepParts) figures.seconds[part] = 0.125;
    for (int64_t step = 0; step < run.config.train.steps; ++step) {
      figures.losses.push_back(4 - 0.1 * static_cast<double>(step));
      figures.gradient_norms.push_back(1);
      figures.rates.push_back(1e-3);
    }
    return figures;
  }
  static std::vector<MeasuredRun> measured(const std::vector<PlannedRun>& runs) {
    std::vector<MeasuredRun> all;
    for (const PlannedRun& run : runs) all.push_back({run, figures(run)});
    return all;
  }

  const TemporaryFolder folder_;
  const std::string config_ = folder_ / "small.yaml";
};

}  // namespace switchyard
