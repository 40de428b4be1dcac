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
  absl::Status commit();

 private:
  AtomicFile() = default;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  FileDescriptor descriptor_;
  int64_t written_ = 0;
};

absl::Status write_file_atomically(const std::filesystem::path& path, std::string_view content);

}  // namespace switchyard
