// Reads and writes safetensors files by tensor and byte range; nothing is held in memory but the header. Free of
// LibTorch. Little-endian machines only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "runtime/storage/atomic_file.h"
#include "runtime/storage/file.h"
#include "runtime/storage/safetensors_header.h"

namespace switchyard {

// Safe to use from several threads.
class SafetensorsReader {
 public:
  // Errors: kMissingInput, kIo, kBadData; they name the file and, where there is one, the tensor.
  static absl::StatusOr<SafetensorsReader> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::vector<StoredEntry>& entries() const { return header_.entries; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  // kMissingInput where there is no such tensor.
  absl::StatusOr<const StoredEntry*> find(std::string_view name) const;

  // Bytes [offset, offset + bytes) of the tensor's data.
  absl::Status read(const StoredEntry& entry, int64_t offset, void* into, int64_t bytes) const;
  absl::Status read(const StoredEntry& entry, void* into) const {
    return read(entry, 0, into, entry.end - entry.begin);
  }

 private:
  SafetensorsReader(InputFile file, SafetensorsHeader header, int64_t data_start);

  InputFile file_;
  SafetensorsHeader header_;
  int64_t data_start_;
  std::map<std::string, size_t, std::less<>> index_;
};

// Appears at its path on commit() only. Data is given in the order of the entries, in pieces of any size.
class SafetensorsWriter {
 public:
  // The entries' names (not repeated), dtypes and shapes count; begin and end are set here.
  static absl::StatusOr<SafetensorsWriter> create(const std::filesystem::path& path, std::vector<StoredEntry> entries,
                                                  std::map<std::string, std::string> metadata = {});

  const std::vector<StoredEntry>& entries() const { return header_.entries; }
  int64_t data_start() const { return data_start_; }  // byte of the file at which the data starts
  int64_t file_bytes() const { return data_start_ + data_bytes_; }
  uint64_t header_checksum() const { return header_checksum_; }  // of the bytes before data_start()
  absl::Status write(const void* data, int64_t bytes) { return file_.write(data, bytes); }
  absl::Status commit();
  // Where AtomicFileParts of temporary() have written the data, an entry from byte data_start() + its begin on.
  absl::Status commit_parts() { return file_.commit(file_bytes()); }
  const std::filesystem::path& temporary() const { return file_.temporary(); }

 private:
  SafetensorsWriter(AtomicFile file, SafetensorsHeader header, int64_t data_start, int64_t data_bytes,
                    uint64_t header_checksum);

  AtomicFile file_;
  SafetensorsHeader header_;
  int64_t data_start_;
  int64_t data_bytes_;
  uint64_t header_checksum_;
};

}  // namespace switchyard
