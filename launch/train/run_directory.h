// The directory that a run writes to: config.yaml, metrics.jsonl, checkpoints/.
#pragma once

#include <memory>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "launch/config/run_config.h"
#include "launch/train/console.h"
#include "runtime/storage/lock_file.h"

namespace switchyard {

// Held by rank 0 while the run lasts, so that two runs never share a directory.
class RunDirectory {
 public:
  // Rank 0 only. Creates what is missing, locks the directory, and saves the resolved config. A directory that already
  // has checkpoints is only taken where `config` may resume from them: kBadConfig for a run of another model or data
  // (naming the keys), for checkpoint.resume=never, and for a checkpoint.resume older than the directory's newest; kIo
  // where the directory cannot be written; kUnavailable where another run holds it; Checkpoint::open's errors.
  static absl::StatusOr<RunDirectory> open(const RunConfig& config, Console* console = nullptr);

  const std::string& path() const { return path_; }
  std::string config_path() const { return path_ + "/config.yaml"; }
  std::string metrics_path() const { return path_ + "/metrics.jsonl"; }
  std::string checkpoints_path() const { return path_ + "/checkpoints"; }

 private:
  explicit RunDirectory(std::string path) : path_(std::move(path)) {}
  absl::Status create_folders() const;
  absl::Status lock(Console* console);
  absl::Status check_previous_run(const RunConfig& config) const;
  absl::Status check_resume_path(const RunConfig& config) const;

  std::string path_;
  std::unique_ptr<LockFile> lock_;
};

}  // namespace switchyard
