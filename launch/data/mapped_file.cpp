#include "launch/data/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace switchyard {

absl::StatusOr<MappedFile> MappedFile::open(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    const bool missing = errno == ENOENT || errno == ENOTDIR;
    return error(missing ? ErrorCategory::kMissingInput : ErrorCategory::kIo,
                 absl::StrCat("cannot open ", path, ": ", std::strerror(errno), "; check the path"));
  }
  struct stat info {};
  void* data = nullptr;
  bool mapped = ::fstat(file, &info) == 0;
  if (mapped && !S_ISREG(info.st_mode)) {
    ::close(file);
    return error(ErrorCategory::kMissingInput, absl::StrCat(path, " is not a file; give the path of a file"));
  }
  if (mapped && info.st_size > 0) {
    data = ::mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_SHARED, file, 0);
    mapped = data != MAP_FAILED;
  }
  const int code = errno;
  ::close(file);
  if (!mapped) {
    return error(ErrorCategory::kIo,
                 absl::StrCat("cannot map ", path, ": ", std::strerror(code), "; copy it to a local disk"));
  }
  return MappedFile(static_cast<const char*>(data), static_cast<size_t>(info.st_size));
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
}

}  // namespace switchyard
