// Files as the rest of the storage code needs them: descriptors that close themselves, reads by byte range, and errors
// that name the file and say what to do. Free of LibTorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace switchyard {

// `action`: e.g. "cannot write". The category is kMissingInput for files that are not there, else kIo.
absl::Status io_error(std::string_view action, const std::filesystem::path& path, int error_number);

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int value) : value_(value) {}
  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();

  int get() const { return value_; }
  bool valid() const { return value_ >= 0; }
  int close();  // 0, or the error number

 private:
  int value_ = -1;
};

// A regular file, read by byte ranges; safe to use from several threads.
class InputFile {
 public:
  static absl::StatusOr<InputFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  int64_t size() const { return size_; }  // bytes, when it was opened
  // Fills `into`; kBadData where the file ends before offset + bytes.
  absl::Status read(int64_t offset, void* into, int64_t bytes) const;

 private:
  std::filesystem::path path_;
  FileDescriptor descriptor_;
  int64_t size_ = 0;
};

// The whole content; kBadData where it is larger than `most` bytes.
absl::StatusOr<std::string> read_text_file(const std::filesystem::path& path, int64_t most);

// Makes creations, renames and removals in `folder` survive a power cut.
absl::Status sync_folder(const std::filesystem::path& folder);

}  // namespace switchyard
