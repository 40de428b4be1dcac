// Which runs a scaling experiment consists of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "launch/config/run_config.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

struct ScaleOptions {
  std::string config;                  // a path
  std::vector<std::string> overrides;  // of all runs
  std::vector<int> ranks;
  // expert: parallel.expert = ranks, and data what is left. data: data is what the ranks leave, and all else as the
  // config says. tensor: parallel.tensor = parallel.expert_tensor = ranks: each layer and each expert is shared by all.
  std::string axis = "expert";
  std::string mode = "strong";  // strong: train.global_batch as it is; weak: times the ranks
  int repeat = 1;
  int64_t steps = 20;
  std::string hostfile = {};
  std::string output = {};  // empty: <run.dir>-scale-<axis>-<mode>
};

struct PlannedRun {
  int ranks = 1;
  int repeat = 1;  // from 1
  // Not to be measured: the first step of the runs on so many ranks, done by the fewest (check_losses says why).
  int reference_of = 0;
  std::filesystem::path folder = {};
  std::vector<std::string> overrides = {};  // of `switchyard train`
  RunConfig config = {};                    // with them
  int64_t vocabulary = 0;
  MeshShape shape = {};

  // "2 ranks, run 1"
  std::string name() const;
};

// In the order in which they are done: repeats go round the ranks, so that what changes with time hits all alike, and
// references come last. `threads`: a rank's, unless the config says. kUsage for options that contradict each other;
// the config's own errors; kBadConfig for a layout that is not possible, which names the ranks.
absl::StatusOr<std::vector<PlannedRun>> plan_runs(const ScaleOptions& options, int threads);

// Where they are put.
std::filesystem::path output_folder(const ScaleOptions& options, const RunConfig& config);

}  // namespace switchyard
