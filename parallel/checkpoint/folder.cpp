#include "parallel/checkpoint/folder.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <string_view>
#include <system_error>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "runtime/base/status.h"
#include "runtime/storage/directory.h"
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

absl::Status check_space(const std::filesystem::path& root, int64_t bytes) {
  SY_ASSIGN_OR_RETURN(const std::optional<int64_t> free, free_bytes(root));
  if (!free || *free >= bytes) return absl::OkStatus();
  return io_error(absl::StrCat("a checkpoint needs ", bytes, " bytes, and ", *free, " are free in"), root, ENOSPC);
}

// Takes the name back from a checkpoint that may not keep it through a power cut. Where the disk refuses that too, it
// goes, the manifest first, since without it nobody takes the rest for a checkpoint.
void withdraw(const std::filesystem::path& path, const std::filesystem::path& staging) {
  rename_in_folder(path, staging).IgnoreError();
  if (!folder_exists(path)) return;
  std::error_code failed;
  std::filesystem::remove(path / kManifestName, failed);
  remove_tree(path).IgnoreError();
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
  const absl::StatusOr<std::vector<std::string>> names = names_in_folder(root);
  if (error_category(names.status()) == ErrorCategory::kMissingInput) return listing;
  SY_RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names) {
    if (const std::optional<int64_t> step = step_of(name)) listing.steps.push_back(*step);
    if (is_staging(name)) listing.unfinished.push_back(name);
  }
  std::sort(listing.steps.begin(), listing.steps.end(), std::greater<>());
  std::sort(listing.unfinished.begin(), listing.unfinished.end());
  return listing;
}

absl::Status begin_staging(const std::filesystem::path& root, int64_t step, int64_t bytes) {
  SY_RETURN_IF_ERROR(create_folders(root));
  SY_ASSIGN_OR_RETURN(const FolderListing listing, list_checkpoints(root));
  for (const std::string& name : listing.unfinished) SY_RETURN_IF_ERROR(remove_tree(root / name));
  SY_RETURN_IF_ERROR(check_space(root, bytes));
  const absl::Status created = create_folder(staging_path(root, step));
  if (!created.ok()) remove_tree(staging_path(root, step)).IgnoreError();  // it may be there and not synced
  return created;
}

absl::Status commit_staging(const std::filesystem::path& root, int64_t step) {
  const std::filesystem::path staging = staging_path(root, step);
  const std::filesystem::path path = checkpoint_path(root, step);
  const std::filesystem::path replaced = path.string() + ".replaced" + std::string(kStaging);
  bool exchanged = false;
  const bool replaces = folder_exists(path);
  // The two change places at once where the filesystem can do that; else there is a moment without either.
  if (replaces) {
    SY_ASSIGN_OR_RETURN(exchanged, exchange_names(staging, path));
  }
  if (!exchanged) {
    if (replaces) SY_RETURN_IF_ERROR(rename_in_folder(path, replaced));
    if (const absl::Status status = rename_in_folder(staging, path); !status.ok()) {
      // The first error is told, and what was there before comes back.
      if (!folder_exists(staging)) withdraw(path, staging);
      if (replaces) rename_in_folder(replaced, path).IgnoreError();
      return status;
    }
  }
  if (replaces) remove_tree(exchanged ? staging : replaced).IgnoreError();  // the next save tries again
  replace_link(root / kLatestName, folder_name(step)).IgnoreError();        // a hint
  return absl::OkStatus();
}

void discard(const std::filesystem::path& path) {
  const std::filesystem::path hidden = path.string() + std::string(kStaging);
  std::error_code failed;
  std::filesystem::rename(path, hidden, failed);
  if (failed) return;
  if (sync_folder(path.parent_path()).ok()) {
    remove_tree(hidden).IgnoreError();  // the next save tries again
  } else {
    rename_in_folder(hidden, path).IgnoreError();  // the new name might not survive a power cut
  }
}

}  // namespace switchyard
