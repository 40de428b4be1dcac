// Folders as the rest of the storage code needs them: what a call changes survives a power cut once it has returned.
// Errors are kIo (kMissingInput where something is not there). Free of LibTorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace switchyard {

// `path` and what is missing above it.
absl::Status create_folders(const std::filesystem::path& path);
// Its parent must exist, and itself not.
absl::Status create_folder(const std::filesystem::path& path);

// In no order.
absl::StatusOr<std::vector<std::string>> names_in_folder(const std::filesystem::path& path);
// false: there is none, or it can't be told.
bool folder_exists(const std::filesystem::path& path);

// Within one folder. What has the new name must be an empty folder, a file, or nothing.
absl::Status rename_in_folder(const std::filesystem::path& from, const std::filesystem::path& to);
// The two change names at once. False where the file system can't do that.
absl::StatusOr<bool> exchange_names(const std::filesystem::path& a, const std::filesystem::path& b);

// A symbolic link at `link` to `target`, in place of one that is there.
absl::Status replace_link(const std::filesystem::path& link, const std::filesystem::path& target);

// With all that is in it; nothing there is fine. What is removed may come back after a power cut.
absl::Status remove_tree(const std::filesystem::path& path);

// What this user may still write to the file system that `path` is on; nullopt where it does not say.
absl::StatusOr<std::optional<int64_t>> free_bytes(const std::filesystem::path& path);

}  // namespace switchyard
