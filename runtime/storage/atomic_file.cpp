#include "runtime/storage/atomic_file.h"

#include <algorithm>
#include <cerrno>

#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

namespace switchyard {
namespace {

// Linux writes at most 2 GiB a call.
constexpr int64_t kMostAtOnce = int64_t{1} << 30;

// `put(from, size, done)` writes some of it, as write(2) does, after `done` bytes.
template <typename Put>
absl::Status write_all(const std::filesystem::path& path, const void* data, int64_t bytes, const Put& put) {
  for (int64_t done = 0; done < bytes;) {
    const auto size = static_cast<size_t>(std::min(bytes - done, kMostAtOnce));
    const ssize_t written = put(static_cast<const char*>(data) + done, size, done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error("cannot write", path, errno);
    done += written;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AtomicFile> AtomicFile::create(const std::filesystem::path& path, int64_t expected_bytes) {
  AtomicFile file;
  file.path_ = path;
  for (int attempt = 0; !file.descriptor_.valid(); ++attempt) {
    file.temporary_ = absl::StrCat(path.string(), ".tmp-", ::getpid(), "-", attempt);
    file.descriptor_ = FileDescriptor(::open(file.temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!file.descriptor_.valid() && errno != EEXIST) return io_error("cannot create", path, errno);
  }
  if (expected_bytes > 0 && ::fallocate(file.descriptor_.get(), 0, 0, expected_bytes) != 0 && errno != EOPNOTSUPP &&
      errno != ENOSYS && errno != EINTR) {
    return io_error(absl::StrCat("cannot reserve ", expected_bytes, " bytes for"), path, errno);
  }
  return file;
}

AtomicFile::~AtomicFile() {
  if (descriptor_.valid()) ::unlink(temporary_.c_str());
}

absl::Status AtomicFile::write(const void* data, int64_t bytes) {
  return write_all(path_, data, bytes, [this](const char* from, size_t size, int64_t) {
    const ssize_t put = ::write(descriptor_.get(), from, size);
    if (put > 0) written_ += put;
    return put;
  });
}

absl::Status AtomicFile::commit(int64_t bytes) {
  // What was reserved and not written goes.
  if (::ftruncate(descriptor_.get(), bytes) != 0) return io_error("cannot write", path_, errno);
  if (::fsync(descriptor_.get()) != 0) return io_error("cannot write", path_, errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return io_error("cannot create", path_, errno);
  if (const int failed = descriptor_.close(); failed != 0) return io_error("cannot write", path_, failed);
  const std::filesystem::path folder = path_.parent_path();
  return sync_folder(folder.empty() ? "." : folder);
}

absl::StatusOr<AtomicFilePart> AtomicFilePart::open(const std::filesystem::path& temporary) {
  AtomicFilePart part;
  part.path_ = temporary;
  part.descriptor_ = FileDescriptor(::open(temporary.c_str(), O_WRONLY | O_CLOEXEC));
  if (!part.descriptor_.valid()) return io_error("cannot write", temporary, errno);
  return part;
}

absl::Status AtomicFilePart::write_at(int64_t offset, const void* data, int64_t bytes) {
  return write_all(path_, data, bytes, [&](const char* from, size_t size, int64_t done) {
    return ::pwrite(descriptor_.get(), from, size, offset + done);
  });
}

absl::Status AtomicFilePart::sync() {
  if (::fsync(descriptor_.get()) != 0) return io_error("cannot write", path_, errno);
  if (const int failed = descriptor_.close(); failed != 0) return io_error("cannot write", path_, failed);
  return absl::OkStatus();
}

absl::Status write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  absl::StatusOr<AtomicFile> file = AtomicFile::create(path, static_cast<int64_t>(content.size()));
  if (!file.ok()) return file.status();
  if (absl::Status status = file->write(content.data(), static_cast<int64_t>(content.size())); !status.ok()) {
    return status;
  }
  return file->commit();
}

}  // namespace switchyard
