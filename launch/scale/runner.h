// Does planned runs, each as a job of its own, and keeps those that are done.
#pragma once

#include <functional>
#include <ostream>
#include <string>

#include <absl/status/statusor.h>

#include "launch/scale/figures.h"
#include "launch/scale/launch_site.h"
#include "launch/scale/plan.h"

namespace switchyard {

struct RunnerOptions {
  std::string program;  // that trains: this one
  std::string build;    // what tells it from another (own_build)
  std::string config;   // path
  LaunchSite site = {};
  std::ostream& out;
  bool terminal = false;  // whether `out` can show progress
  std::function<bool()> stop_requested = [] { return false; };
};

class Runner {
 public:
  explicit Runner(RunnerOptions options) : options_(std::move(options)) {}

  // The figures of the run, which is done now unless its folder holds it complete, of the same config, program and
  // launch. `place`: "2 of 6", for people. kStoppedEarly where it was asked to stop, with the job ended; kIo where the
  // folder holds what is no such run; where the job fails, its category, what it said, and where its log is.
  absl::StatusOr<RunFigures> run(const PlannedRun& run, const std::string& place);

 private:
  absl::Status do_run(const PlannedRun& run, const std::string& place, const std::string& identity);
  absl::StatusOr<int> wait_for(const PlannedRun& run, const std::string& place);
  std::vector<std::string> words(const PlannedRun& run) const;

  const RunnerOptions options_;
};

// Both outputs of a run's job.
std::filesystem::path log_path(const PlannedRun& run);

// Of a job that ended with this code and left this log: the category that the code stands for, and the first error in
// the log or its last line.
absl::Status job_failure(int exit_code, const std::string& log);

}  // namespace switchyard
