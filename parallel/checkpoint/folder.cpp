#include "parallel/checkpoint/folder.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <string_view>
#include <system_error>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <stdio.h>

#include "runtime/base/status.h"
#include "runtime/storage/file.h"

namespace switchyard {
namespace {

constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kStaging = ".partial";

std::string folder_name(int64_t step) {
  return absl::StrFormat("step-%08d", step);
}

std::optional<int64_t> step_of(const std::string& name) {
  if (name.size() < kPrefix.size() + 8 || name.size() > kPrefix.size() + 18) return std::nullopt;
  int64_t step = 0;
  for (const char c : std::string_view(name).substr(kPrefix.size())) {
    if (c < '0' || c > '9') return std::nullopt;
    step = step * 10 + (c - '0');
  }
  return folder_name(step) == name ? std::optional(step) : std::nullopt;
}

bool is_staging(const std::string& name) {
  return name.starts_with(kPrefix) && name.ends_with(kStaging);
}

absl::Status rename_folder(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code failed;
  std::filesystem::rename(from, to, failed);
  return failed ? io_error(absl::StrCat("cannot rename ", from.string(), " to"), to, failed.value()) : absl::OkStatus();
}

}  // namespace

std::filesystem::path checkpoint_path(const std::filesystem::path& root, int64_t step) {
  return root / folder_name(step);
}

std::filesystem::path staging_path(const std::filesystem::path& root, int64_t step) {
  return root / (folder_name(step) + std::string(kStaging));
}

absl::StatusOr<FolderListing> list_checkpoints(const std::filesystem::path& root) {
  FolderListing listing;
  std::error_code failed;
  std::filesystem::directory_iterator at(root, failed);
  if (failed.value() == ENOENT) return listing;
  for (; !failed && at != std::filesystem::directory_iterator(); at.increment(failed)) {
    const std::string name = at->path().filename().string();
    if (const std::optional<int64_t> step = step_of(name)) listing.steps.push_back(*step);
    if (is_staging(name)) listing.unfinished.push_back(name);
  }
  if (failed) return io_error("cannot list", root, failed.value());
  std::sort(listing.steps.begin(), listing.steps.end(), std::greater<>());
  std::sort(listing.unfinished.begin(), listing.unfinished.end());
  return listing;
}

absl::Status begin_staging(const std::filesystem::path& root, int64_t step) {
  std::error_code failed;
  std::filesystem::create_directories(root, failed);
  if (failed) return io_error("cannot create", root, failed.value());
  SY_ASSIGN_OR_RETURN(const FolderListing listing, list_checkpoints(root));
  for (const std::string& name : listing.unfinished) std::filesystem::remove_all(root / name, failed);
  const std::filesystem::path staging = staging_path(root, step);
  if (!std::filesystem::create_directory(staging, failed)) {
    return io_error("cannot create", staging, failed ? failed.value() : EEXIST);
  }
  return absl::OkStatus();
}

absl::Status commit_staging(const std::filesystem::path& root, int64_t step) {
  const std::filesystem::path staging = staging_path(root, step);
  const std::filesystem::path path = checkpoint_path(root, step);
  const std::filesystem::path replaced = path.string() + ".replaced" + std::string(kStaging);
  std::error_code failed;
  const bool replaces = std::filesystem::exists(path, failed);
  // The two change places at once where the filesystem can do that; else there is a moment without either.
  const bool exchanged =
      replaces && ::renameat2(AT_FDCWD, staging.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0;
  if (!exchanged) {
    if (replaces) SY_RETURN_IF_ERROR(rename_folder(path, replaced));
    if (const absl::Status status = rename_folder(staging, path); !status.ok()) {
      if (replaces) std::filesystem::rename(replaced, path, failed);
      return status;
    }
  }
  SY_RETURN_IF_ERROR(sync_folder(root));
  if (replaces) std::filesystem::remove_all(exchanged ? staging : replaced, failed);
  return absl::OkStatus();
}

void discard(const std::filesystem::path& path) {
  const std::filesystem::path hidden = path.string() + std::string(kStaging);
  std::error_code failed;
  std::filesystem::rename(path, hidden, failed);
  if (!failed) std::filesystem::remove_all(hidden, failed);
}

}  // namespace switchyard
