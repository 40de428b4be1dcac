// Reads a checkpoint by box intersection: any layout reads what any other wrote. Local, not collective, and not to be
// shared by threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "parallel/checkpoint/manifest.h"
#include "parallel/checkpoint/tensor_part.h"
#include "runtime/comm/communicator.h"
#include "runtime/storage/file.h"

namespace switchyard {

class Checkpoint {
 public:
  // Validates the manifest and the sizes of the files; data is validated when it is read. kMissingInput where there is
  // no manifest, kBadData for damage, kIo where a disk refuses.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  int64_t step() const { return manifest_.step; }
  const std::string& run_state() const { return manifest_.run_state; }  // JSON
  int64_t total_bytes() const { return manifest_.total_bytes(); }
  std::span<const StoredTensor> tensors() const { return manifest_.tensors; }  // by name
  const StoredTensor* find(std::string_view name) const;                       // null: none

  // Fills `data` of every part; empty boxes are ordinary. Reads the chunks that are needed, and no others, and compares
  // their checksums. kBadData where a tensor is missing or has another dtype or shape, and for damage, naming file,
  // tensor and bytes; the data of the parts is then undefined.
  absl::Status read(std::span<const TensorPart> wanted);
  int64_t bytes_read() const { return bytes_read_; }  // from the data files so far

 private:
  Checkpoint(std::filesystem::path path, Manifest manifest);
  absl::StatusOr<const StoredTensor*> find_like(const TensorPart& part) const;
  absl::Status read_part(const StoredTensor& tensor, const TensorPart& part);
  absl::StatusOr<int64_t> read_box(const StoredTensor& tensor, const StoredBox& stored, const Box& wanted, char* into);
  absl::Status read_chunks(const StoredTensor& tensor, const StoredBox& stored, int64_t begin, int64_t end);
  absl::StatusOr<const InputFile*> file(size_t index);

  std::filesystem::path path_;
  Manifest manifest_;
  std::map<std::string_view, const StoredTensor*> index_;
  std::map<size_t, InputFile> open_files_;
  std::vector<char> buffer_;
  int64_t bytes_read_ = 0;
};

struct LatestCheckpoint {
  std::unique_ptr<Checkpoint> checkpoint;  // null: there is none
  std::vector<std::string> skipped;        // newer ones that are not valid, a line with the reason for each
};

// The newest valid checkpoint under `root`, which need not exist. kIo where a disk refuses: what can't be read is not
// skipped, for it may be good. Local.
absl::StatusOr<LatestCheckpoint> find_latest(const std::filesystem::path& root);
// Collective: rank 0 chooses, the others open the same. All ranks get the same lines and, if one fails, all fail alike.
absl::StatusOr<LatestCheckpoint> find_latest(const std::filesystem::path& root, Communicator& control);

}  // namespace switchyard
