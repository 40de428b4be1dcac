// What a run tells of itself in metrics.jsonl, as figures to compare runs by.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace switchyard {

// Steps in which memory is touched for the first time and buffers grow; they are trained and left out of all medians.
constexpr int64_t kWarmUpSteps = 3;

// Medians over steps, each figure by itself, of all ranks unless it says otherwise.
struct RunFigures {
  double tokens_per_second = 0, step_seconds = 0;
  std::map<std::string, double> seconds = {};  // of kStepParts: where the mean rank is in a step
  double node_bytes = 0, remote_bytes = 0;     // that all ranks send in a step within hosts, and between them
  double memory_bytes = 0;                     // peak of the rank with most
  double load_imbalance = 0;                   // most loaded expert over the mean; 0: there are no experts
  // Step by step, from the first; not a number where it was not finite.
  std::vector<double> losses = {}, gradient_norms = {}, rates = {};
};

// Of the metrics of a run of `steps` steps, trained with --profile. kMissingInput; kBadData where a step, or a figure
// of it, is missing.
absl::StatusOr<RunFigures> read_figures(const std::filesystem::path& metrics, int64_t steps);

// Of each figure over several runs alike; losses are the first one's.
RunFigures median_of(const std::vector<RunFigures>& runs);

}  // namespace switchyard
