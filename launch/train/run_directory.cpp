#include "launch/train/run_directory.h"

#include <filesystem>

#include <absl/strings/str_cat.h>
#include <unistd.h>

#include "launch/config/binder.h"
#include "launch/config/document.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/folder.h"
#include "runtime/storage/atomic_file.h"
#include "runtime/storage/directory.h"

namespace switchyard {

absl::Status RunDirectory::create_folders() const {
  const absl::Status created = switchyard::create_folders(checkpoints_path());
  if (created.ok() && ::access(path_.c_str(), W_OK) == 0 && ::access(checkpoints_path().c_str(), W_OK) == 0) {
    return absl::OkStatus();
  }
  const std::string reason = created.ok() ? "permission denied" : std::string(created.message());
  return error(ErrorCategory::kIo, absl::StrCat("run directory ", path_, " cannot be written (", reason,
                                                "): choose another with run.dir=PATH or give this user access"));
}

absl::Status RunDirectory::lock(Console* console) {
  LockOptions options;
  if (console) options.notice = [console](const std::string& text) { console->line(text); };
  absl::StatusOr<std::unique_ptr<LockFile>> held = LockFile::acquire(path_ + "/.lock", options);
  if (held.ok()) {
    lock_ = *std::move(held);
    return absl::OkStatus();
  }
  if (error_category(held.status()) != ErrorCategory::kUnavailable) return held.status();
  return error(ErrorCategory::kUnavailable,
               absl::StrCat("run directory ", path_,
                            " is in use by a run that has not ended: wait for it, or choose another "
                            "with run.dir=PATH (",
                            held.status().message(), ")"));
}

absl::Status RunDirectory::check_previous_run(const RunConfig& config) const {
  std::error_code code;
  if (!std::filesystem::exists(config_path()) || std::filesystem::is_empty(checkpoints_path(), code)) {
    return absl::OkStatus();
  }
  if (config.checkpoint.resume == "never") {
    return error(ErrorCategory::kBadConfig,
                 absl::StrCat("run directory ", path_,
                              " already holds checkpoints, and checkpoint.resume is never: choose another with "
                              "run.dir=PATH, or remove it to start afresh"));
  }
  SY_ASSIGN_OR_RETURN(const RunConfig saved, read_config<RunConfig>(config_path()));
  const absl::Status differences = compare_for_resume(saved, config);
  if (differences.ok()) return absl::OkStatus();
  return error(ErrorCategory::kBadConfig,
               absl::StrCat("run directory ", path_,
                            " holds checkpoints of another run: choose another with run.dir=PATH, or give these keys "
                            "their old values\n",
                            differences.message()));
}

// Newer checkpoints than the one to go on from would be what the next run goes on from, and what is kept.
absl::Status RunDirectory::check_resume_path(const RunConfig& config) const {
  const std::string& resume = config.checkpoint.resume;
  if (resume == "auto" || resume == "never") return absl::OkStatus();
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> start, Checkpoint::open(resume));
  SY_ASSIGN_OR_RETURN(const FolderListing listing, list_checkpoints(checkpoints_path()));
  if (listing.steps.empty() || listing.steps.front() <= start->step()) return absl::OkStatus();
  return error(ErrorCategory::kBadConfig,
               absl::StrCat("checkpoint.resume=", resume, " is of step ", start->step(), ", but run directory ", path_,
                            " holds newer checkpoints, up to step ", listing.steps.front(),
                            ": choose another with run.dir=PATH, or move the newer ones out of ", checkpoints_path()));
}

absl::StatusOr<RunDirectory> RunDirectory::open(const RunConfig& config, Console* console) {
  RunDirectory directory(config.run.dir);
  SY_RETURN_IF_ERROR(directory.create_folders());
  SY_RETURN_IF_ERROR(directory.lock(console));
  SY_RETURN_IF_ERROR(directory.check_previous_run(config));
  SY_RETURN_IF_ERROR(directory.check_resume_path(config));
  SY_RETURN_IF_ERROR(write_file_atomically(directory.config_path(), dump_yaml(config)));
  return directory;
}

}  // namespace switchyard
