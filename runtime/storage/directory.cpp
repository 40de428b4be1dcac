#include "runtime/storage/directory.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "runtime/base/status.h"
#include "runtime/storage/file.h"

namespace switchyard {
namespace {

std::filesystem::path parent_of(const std::filesystem::path& path) {
  const std::filesystem::path parent = path.parent_path();
  return parent.empty() ? "." : parent;
}

}  // namespace

absl::Status create_folders(const std::filesystem::path& path) {
  if (path.empty() || folder_exists(path)) return absl::OkStatus();
  if (!path.has_filename()) return create_folders(path.parent_path());  // a slash at the end
  // What is there and no folder is met, and named, below.
  std::error_code unknown;
  if (!std::filesystem::exists(parent_of(path), unknown)) SY_RETURN_IF_ERROR(create_folders(path.parent_path()));
  const absl::Status created = create_folder(path);
  // Another process may have been faster.
  return created.ok() || folder_exists(path) ? absl::OkStatus() : created;
}

absl::Status create_folder(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), 0777) != 0) return io_error("cannot create", path, errno);
  return sync_folder(parent_of(path));
}

absl::StatusOr<std::vector<std::string>> names_in_folder(const std::filesystem::path& path) {
  std::vector<std::string> names;
  std::error_code failed;
  std::filesystem::directory_iterator at(path, failed);
  for (; !failed && at != std::filesystem::directory_iterator(); at.increment(failed)) {
    names.push_back(at->path().filename().string());
  }
  if (failed) return io_error("cannot list", path, failed.value());
  return names;
}

bool folder_exists(const std::filesystem::path& path) {
  std::error_code failed;
  return std::filesystem::is_directory(path, failed);
}

absl::Status rename_in_folder(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return io_error(absl::StrCat("cannot rename ", from.string(), " to"), to, errno);
  }
  return sync_folder(parent_of(to));
}

absl::StatusOr<bool> exchange_names(const std::filesystem::path& a, const std::filesystem::path& b) {
  if (::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) != 0) return false;
  const absl::Status synced = sync_folder(parent_of(b));
  if (synced.ok()) return true;
  ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);  // as it was
  return synced;
}

absl::Status replace_link(const std::filesystem::path& link, const std::filesystem::path& target) {
  const std::string temporary = link.string() + ".partial";
  if (::unlink(temporary.c_str()) != 0 && errno != ENOENT) return io_error("cannot remove", temporary, errno);
  if (::symlink(target.c_str(), temporary.c_str()) != 0) return io_error("cannot create", temporary, errno);
  return rename_in_folder(temporary, link);
}

absl::Status remove_tree(const std::filesystem::path& path) {
  std::error_code failed;
  std::filesystem::remove_all(path, failed);
  return failed ? io_error("cannot remove", path, failed.value()) : absl::OkStatus();
}

absl::StatusOr<std::optional<int64_t>> free_bytes(const std::filesystem::path& path) {
  struct statvfs information;
  if (::statvfs(path.c_str(), &information) != 0) return io_error("cannot examine", path, errno);
  if (information.f_blocks == 0) return std::optional<int64_t>();
  return static_cast<int64_t>(information.f_bavail * std::max<uint64_t>(information.f_frsize, 1));
}

}  // namespace switchyard
