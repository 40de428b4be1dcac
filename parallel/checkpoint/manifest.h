// What a checkpoint holds: every logical tensor with the boxes that the files hold of it, and the run's state. On disk
// one JSON object: format, version, step, chunk_bytes, total_bytes, run_state, files, tensors and, last, "hash": the
// XXH3-64 of all bytes before `,\n"hash"`. Free of LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "parallel/topology/box.h"
#include "runtime/storage/dtype.h"

namespace switchyard {

constexpr int64_t kManifestVersion = 1;

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
};

struct Manifest {
  int64_t step = 0;
  std::string run_state = "{}";  // a JSON object, opaque here
  std::vector<StoredFile> files;
  std::vector<StoredTensor> tensors;

  int64_t total_bytes() const;  // of all files
};

// kUsage where run_state is not a JSON object.
absl::StatusOr<std::string> serialise_manifest(const Manifest& manifest);

// Checks hash, version, and that boxes lie within their tensors and files, with a checksum per chunk. Errors are
// kBadData and start with `file`.
absl::StatusOr<Manifest> parse_manifest(std::string_view text, const std::string& file);

// Names are not repeated, and the boxes of every tensor cover it exactly once. kBadData, naming the tensor.
absl::Status check_complete(const Manifest& manifest);

}  // namespace switchyard
