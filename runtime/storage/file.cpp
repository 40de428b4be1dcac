#include "runtime/storage/file.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

const char* advice(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return "free space there, or choose a folder on another disk";
    case EFBIG:
      return "raise the limit on file sizes (ulimit -f), or choose a folder on another disk";
    case EACCES:
    case EPERM:
      return "check the permissions of the file and its folder";
    case EROFS:
      return "choose a folder that can be written";
    case ENOENT:
      return "check the path";
    case ENOTDIR:
      return "a part of the path is not a folder";
    case EMFILE:
    case ENFILE:
      return "raise the limit on open files (ulimit -n)";
    default:
      return "check the disk and the path";
  }
}

}  // namespace

absl::Status io_error(std::string_view action, const std::filesystem::path& path, int error_number) {
  const ErrorCategory category = error_number == ENOENT ? ErrorCategory::kMissingInput : ErrorCategory::kIo;
  return error(category, absl::StrCat(std::string(action), " ", path.string(), ": ",
                                      std::generic_category().message(error_number), "; ", advice(error_number)));
}

FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(value_, other.value_);
  return *this;
}

FileDescriptor::~FileDescriptor() {
  close();
}

int FileDescriptor::close() {
  if (!valid()) return 0;
  return ::close(std::exchange(value_, -1)) == 0 ? 0 : errno;
}

absl::StatusOr<InputFile> InputFile::open(const std::filesystem::path& path) {
  InputFile file;
  file.path_ = path;
  // Non-blocking, so that opening a named pipe does not hang; it changes nothing for a regular file.
  file.descriptor_ = FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.descriptor_.valid()) return io_error("cannot open", path, errno);
  struct stat information;
  if (::fstat(file.descriptor_.get(), &information) != 0) return io_error("cannot examine", path, errno);
  if (!S_ISREG(information.st_mode)) {
    return error(ErrorCategory::kBadData, absl::StrCat(path.string(), " is not a regular file; check the path"));
  }
  file.size_ = information.st_size;
  return file;
}

absl::Status InputFile::read(int64_t offset, void* into, int64_t bytes) const {
  char* to = static_cast<char*>(into);
  int64_t done = 0;
  while (done < bytes) {
    const ssize_t got = ::pread(descriptor_.get(), to + done, static_cast<size_t>(bytes - done), offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error("cannot read", path_, errno);
    if (got == 0) {
      return error(ErrorCategory::kBadData,
                   absl::StrCat(path_.string(), " ends at byte ", offset + done, ", but bytes ", offset, " to ",
                                offset + bytes, " are needed; the file is truncated: restore it from its source"));
    }
    done += got;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> read_text_file(const std::filesystem::path& path, int64_t most) {
  SY_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(path));
  if (file.size() > most) {
    return error(ErrorCategory::kBadData, absl::StrCat(path.string(), " has ", file.size(), " bytes, more than the ",
                                                       most, " that such a file may have; check the path"));
  }
  std::string text(static_cast<size_t>(file.size()), '\0');
  SY_RETURN_IF_ERROR(file.read(0, text.data(), file.size()));
  return text;
}

absl::Status sync_folder(const std::filesystem::path& folder) {
  const FileDescriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!descriptor.valid()) return io_error("cannot open folder", folder, errno);
  // Some network filesystems do not know fsync on a folder; they say so with EINVAL.
  if (::fsync(descriptor.get()) != 0 && errno != EINVAL) return io_error("cannot sync folder", folder, errno);
  return absl::OkStatus();
}

}  // namespace switchyard
