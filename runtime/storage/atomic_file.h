// A file that appears whole or not at all: written under a temporary name in the same folder, synced, renamed, and the
// folder synced. Dropped without commit, it leaves nothing behind. Free of LibTorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "runtime/storage/file.h"

namespace switchyard {

class AtomicFile {
 public:
  // `expected_bytes` is reserved where the filesystem can, so that a full disk shows before anything is written.
  // Errors of every call are kIo (kMissingInput where the folder does not exist).
  static absl::StatusOr<AtomicFile> create(const std::filesystem::path& path, int64_t expected_bytes = 0);
  AtomicFile(AtomicFile&&) noexcept = default;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  int64_t written() const { return written_; }
  absl::Status write(const void* data, int64_t bytes);
  // Replaces whatever had the name. Nothing may be called after it.
  absl::Status commit() { return commit(written_); }
  // The same of a file of `bytes` bytes, whose rest the AtomicFileParts of other processes have written and synced.
  absl::Status commit(int64_t bytes);
  const std::filesystem::path& temporary() const { return temporary_; }

 private:
  AtomicFile() = default;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  FileDescriptor descriptor_;
  int64_t written_ = 0;
};

// How other processes help to write an AtomicFile before it is committed. Errors are kIo, or kMissingInput where this
// host does not see the file.
class AtomicFilePart {
 public:
  // `temporary`: of the AtomicFile.
  static absl::StatusOr<AtomicFilePart> open(const std::filesystem::path& temporary);

  absl::Status write_at(int64_t offset, const void* data, int64_t bytes);
  absl::Status sync();  // once, after all writes

 private:
  AtomicFilePart() = default;

  std::filesystem::path path_;
  FileDescriptor descriptor_;
};

absl::Status write_file_atomically(const std::filesystem::path& path, std::string_view content);

}  // namespace switchyard
