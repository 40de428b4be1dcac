// The header of a safetensors file (https://github.com/huggingface/safetensors): 8 bytes of little-endian length, then
// JSON: {"__metadata__": {text: text}, name: {"dtype", "shape", "data_offsets": [begin, end]}}. Free of LibTorch.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "runtime/storage/dtype.h"

namespace switchyard {

constexpr int64_t kMaxSafetensorsHeader = 100'000'000;

struct StoredEntry {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  int64_t begin = 0;  // bytes from the end of the header; the data is dense, row-major, little-endian
  int64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<StoredEntry> entries;  // in the order of their data
  std::map<std::string, std::string> metadata;
};

// `json`: the header without its length; `data_bytes`: what follows it in the file; `file`: for messages. Strict: data
// ranges must fit dtype and shape and cover the data without holes or overlaps, keys may not repeat. Errors are
// kBadData and name file and tensor.
absl::StatusOr<SafetensorsHeader> parse_safetensors_header(std::string_view json, int64_t data_bytes,
                                                           const std::string& file);

// With its length in front, padded with spaces so that the data starts 8-aligned.
std::string serialise_safetensors_header(const SafetensorsHeader& header);

}  // namespace switchyard
