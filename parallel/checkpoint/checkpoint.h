// Reads a checkpoint by box intersection: any layout reads what any other wrote. Local, not collective, and not to be
// shared by threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "parallel/checkpoint/chunk_reader.h"
#include "parallel/checkpoint/manifest.h"
#include "parallel/checkpoint/tensor_part.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

constexpr int64_t kAnyStep = std::numeric_limits<int64_t>::max();

class Checkpoint {
 public:
  // Validates the manifest, and the sizes and headers of the files; data is validated when it is read. kMissingInput
  // where there is no manifest, or a file is not there, kBadData for damage, kIo where a disk refuses.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> open(const std::filesystem::path& path);
  // The same without a look at the files: for ranks whose rank 0 has opened it.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> open_manifest(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  int64_t step() const { return manifest_.step; }
  const std::string& run_state() const { return manifest_.run_state; }  // JSON
  const Manifest& manifest() const { return manifest_; }
  std::span<const StoredTensor> tensors() const { return manifest_.tensors; }  // by name
  const StoredTensor* find(std::string_view name) const;                       // or alias; null: none

  // Fills `data` of every part; empty boxes are ordinary. Reads the chunks that are needed, and no others, and compares
  // their checksums. kBadConfig where a tensor is missing or has another dtype or shape; kBadData for damage,
  // naming file, tensor and bytes; the data of the parts is then undefined.
  absl::Status read(std::span<const TensorPart> wanted);
  int64_t bytes_read() const { return reader_.bytes_read(); }  // of data, so far

 private:
  Checkpoint(std::filesystem::path path, Manifest manifest);
  absl::StatusOr<const StoredTensor*> find_like(const TensorPart& part) const;
  absl::Status read_part(const StoredTensor& tensor, const TensorPart& part);
  absl::StatusOr<int64_t> read_box(const StoredTensor& tensor, const StoredBox& stored, const Box& wanted, char* into);

  std::filesystem::path path_;
  Manifest manifest_;
  std::map<std::string_view, const StoredTensor*> index_;
  ChunkReader reader_;
  std::vector<char> buffer_;  // of a chunk
};

struct LatestCheckpoint {
  std::unique_ptr<Checkpoint> checkpoint;  // null: there is none
  std::vector<std::string> skipped;        // newer ones that are not valid, a line with the reason for each
};

// The newest valid checkpoint under `root`, which need not exist, of a step before `before`. kBadData where there are
// some and none is valid, kIo where a disk refuses: what can't be read is not skipped, for it may be good. Local.
absl::StatusOr<LatestCheckpoint> find_latest(const std::filesystem::path& root, int64_t before = kAnyStep);
// Collective: rank 0 chooses, the others open the same. All ranks get the same lines and, if one fails, all fail alike.
absl::StatusOr<LatestCheckpoint> find_latest(const std::filesystem::path& root, Communicator& control,
                                             int64_t before = kAnyStep);

}  // namespace switchyard
