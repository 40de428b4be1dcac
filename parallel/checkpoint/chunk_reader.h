// Reads the files of a checkpoint chunk by chunk, and believes nothing that does not match its checksum. Not to be
// shared by threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "parallel/checkpoint/manifest.h"
#include "runtime/storage/file.h"

namespace switchyard {

class ChunkReader {
 public:
  // Borrows `manifest`.
  ChunkReader(std::filesystem::path folder, const Manifest& manifest)
      : folder_(std::move(folder)), manifest_(manifest) {}

  // Fills `into` with the chunk, of kChunkBytes or what the box has left. kBadData, naming file, tensor and bytes,
  // where it is damaged; kMissingInput or kIo.
  absl::Status read(const StoredTensor& tensor, const StoredBox& stored, int64_t chunk, char* into);
  // That a file has its size and, from version 2 on, its header. kBadData, naming file and bytes; else as above.
  absl::Status check_file(size_t file);

  int64_t bytes_read() const { return bytes_read_; }  // of boxes, so far

 private:
  absl::StatusOr<const InputFile*> open(size_t file);

  const std::filesystem::path folder_;
  const Manifest& manifest_;
  std::map<size_t, InputFile> open_files_;
  int64_t bytes_read_ = 0;
};

}  // namespace switchyard
