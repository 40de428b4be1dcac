// The shipped program under mpirun, as a process of its own that a test watches and signals.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

namespace switchyard {

class LaunchedJob {
 public:
  // `arguments` follow `mpirun -n RANKS`; both outputs go to files in `folder`.
  LaunchedJob(int ranks, const std::vector<std::string>& arguments, const std::filesystem::path& folder);
  LaunchedJob(const LaunchedJob&) = delete;
  LaunchedJob& operator=(const LaunchedJob&) = delete;
  ~LaunchedJob();  // ends what still runs

  // Blocks until mpirun ends. Its exit code, as a shell gives it: 128 + the signal that ended it.
  int wait();
  bool running();
  // Of both outputs, so far.
  std::string output() const;

  pid_t mpirun() const { return pid_; }
  // The processes that mpirun started, in no order.
  std::vector<pid_t> ranks() const;

 private:
  std::filesystem::path output_;
  pid_t pid_ = -1;
  int state_ = 0;
  bool ended_ = false;
};

// Two ranks of a small model, its run in folder/run.
class SmallRun {
 public:
  explicit SmallRun(std::filesystem::path folder);

  // The program and its arguments.
  std::vector<std::string> command(const std::vector<std::string>& overrides = {}) const;
  // Runs it to its end on two ranks.
  struct Outcome {
    int code;
    std::string output;
  };
  Outcome finish(const std::vector<std::string>& overrides = {}) const;

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path checkpoints() const { return folder_ / "run" / "checkpoints"; }
  // Numbers of the steps recorded so far, in the order of metrics.jsonl; a line being written is left out.
  std::vector<int64_t> steps() const;
  // Polls until a step from `step` on is recorded; false if the job ended first.
  bool reaches(int64_t step, LaunchedJob& job) const;
  // Steps of the complete checkpoints, ascending.
  std::vector<int64_t> saved_steps() const;

 private:
  std::filesystem::path folder_;
};

}  // namespace switchyard
