// What a checkpoint holds: every logical tensor with the boxes that the files hold of it, and the run's state. On disk
// one JSON object: format, version, step, chunk_bytes, total_bytes, run_state, aliases, files, tensors and, last,
// "hash": the XXH3-64 of all bytes before `,\n"hash"`. Version 1 has no aliases and does not vouch for the files'
// headers. Free of LibTorch.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "parallel/topology/box.h"
#include "runtime/storage/dtype.h"

namespace switchyard {

constexpr int64_t kManifestVersion = 2;  // that is written; older ones are read

// A part of a logical tensor in a file: dense, row-major, little-endian; never empty.
struct StoredBox {
  Box box;
  size_t file = 0;                  // index into Manifest::files
  int64_t byte_offset = 0;          // from the start of the file
  std::vector<uint64_t> checksums;  // per chunk of kChunkBytes, the first one from byte_offset
};

struct StoredTensor {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  std::vector<StoredBox> boxes;
};

struct StoredFile {
  std::string name;  // within the checkpoint's folder
  int64_t bytes = 0;
  int64_t header_bytes = 0;  // before the data; 0: not known (version 1)
  uint64_t header_checksum = 0;
};

struct Manifest {
  int64_t version = kManifestVersion;  // as it was read
  int64_t step = 0;
  std::string run_state = "{}";  // a JSON object, opaque here
  std::vector<StoredFile> files;
  std::vector<StoredTensor> tensors;
  std::map<std::string, std::string> aliases;  // a further name of a tensor, and the name that it is stored under

  int64_t total_bytes() const;  // of all files
};

// kUsage where run_state is not a JSON object.
absl::StatusOr<std::string> serialise_manifest(const Manifest& manifest);

// Checks hash, version, and that boxes lie within their tensors and files, with a checksum per chunk. Errors are
// kBadData and start with `file`.
absl::StatusOr<Manifest> parse_manifest(std::string_view text, const std::string& file);

// Names are not repeated, the boxes of every tensor cover it exactly once, and aliases are of tensors. kBadData, naming
// the tensor.
absl::Status check_complete(const Manifest& manifest);

}  // namespace switchyard
