// The folder of a run's checkpoints: `step-00000100/` for each, `step-00000100.partial/` while it is written or
// deleted, so that what has a checkpoint's name is never half of one, also after a power cut. Calls are local: one rank
// makes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace switchyard {

constexpr char kManifestName[] = "manifest.json";
constexpr char kLatestName[] = "latest";

std::filesystem::path checkpoint_path(const std::filesystem::path& root, int64_t step);
std::filesystem::path staging_path(const std::filesystem::path& root, int64_t step);

struct FolderListing {
  std::vector<int64_t> steps;           // newest first; their validity is not known
  std::vector<std::string> unfinished;  // names of staging folders
};
// A root that does not exist has none. kIo where it can't be read.
absl::StatusOr<FolderListing> list_checkpoints(const std::filesystem::path& root);

// Deletes the staging folders that earlier runs left, and makes an empty one. kIo where less than `bytes` are free.
absl::Status begin_staging(const std::filesystem::path& root, int64_t step, int64_t bytes);
// Gives the staging folder the checkpoint's name, and points the link `root`/latest to it. An older checkpoint of the
// same step is replaced.
absl::Status commit_staging(const std::filesystem::path& root, int64_t step);

// Deletes a checkpoint so that no reader sees half of one. What can't be deleted now is left for the next call.
void discard(const std::filesystem::path& path);

}  // namespace switchyard
