// What one rank contributes to a checkpoint: a safetensors file of its boxes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "parallel/checkpoint/manifest.h"
#include "parallel/checkpoint/tensor_part.h"
#include "parallel/topology/box.h"
#include "runtime/storage/dtype.h"

namespace switchyard {

// A box of a logical tensor whose data comes in pieces, in the order of the box, of any sizes.
using Sink = std::function<absl::Status(const void* data, int64_t bytes)>;
struct BoxSource {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;  // of the logical tensor
  Box box;
  std::function<absl::Status(const Sink& sink)> stream;  // not called where the box is empty
};

// Bytes that the file of these boxes takes, and what the manifest says of them, within a few in a thousand.
int64_t bytes_to_write(std::span<const BoxSource> boxes);
int64_t bytes_to_write(std::span<const TensorPart> parts);

// Writes the file, whole and synced or not at all; there is none where all boxes are empty. Returns the piece of the
// manifest that describes it. kIo, and the errors of the sources. Local.
absl::StatusOr<Manifest> write_boxes(const std::filesystem::path& folder, const std::string& file_name,
                                     std::vector<BoxSource> boxes);
absl::StatusOr<Manifest> write_boxes(const std::filesystem::path& folder, const std::string& file_name,
                                     std::span<const TensorPart> parts);

}  // namespace switchyard
