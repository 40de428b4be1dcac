// What a scaling experiment found: a table for people, JSON, and one self-contained page that shows the JSON.
#pragma once

#include <string>
#include <vector>

#include "launch/scale/agreement.h"
#include "launch/scale/figures.h"
#include "launch/scale/launch_site.h"
#include "launch/scale/plan.h"

namespace switchyard {

struct FailedRun {
  std::string name, log;
  std::string message;  // one line
};

// All runs on one number of ranks.
struct ScalePoint {
  int ranks = 1;
  std::string layout = {};
  bool crowded = false;  // ranks share cores
  int64_t global_batch = 0;
  int runs = 0;
  RunFigures figures = {};          // medians over runs
  double slowest = 0, fastest = 0;  // tokens/s of a run
  // tokens/s over those of the fewest ranks, and that over what the ranks let hope for: 1 is perfect, in both modes.
  double speed_up = 1, efficiency = 1;
};

struct ScaleReport {
  std::string config, axis, mode, precision;
  std::string model;  // for people
  std::string site;   // LaunchSite::describe
  std::string build;
  int threads = 1;  // a rank
  int64_t steps = 0, sequence = 0;
  std::vector<ScalePoint> points = {};  // by ranks
  std::vector<LossCheck> checks = {};
  std::vector<FailedRun> failures = {};
};

// `runs`: at least one that is measured and no reference.
std::vector<ScalePoint> points_of(const std::vector<MeasuredRun>& runs, const LaunchSite& site);

std::string scale_table(const ScaleReport& report);

// Keys: config, axis, mode, precision, model, site, build, threads, steps, warm_up_steps, sequence; points: a list of
// {ranks, layout, crowded, global_batch, runs, tokens_per_second, slowest, fastest, speed_up, efficiency, step_seconds,
// seconds: {experts, …}, sent: {node_bytes, remote_bytes}, memory_bytes, load_imbalance, losses}; checks: a list of
// {what, run, reference, step, deviation, bound, holds}; agree; failures: a list of {run, log, message}.
std::string scale_json(const ScaleReport& report);

// `json`: of scale_json.
std::string scale_page(const std::string& json);

}  // namespace switchyard
