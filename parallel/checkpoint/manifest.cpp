#include "parallel/checkpoint/manifest.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <nlohmann/json.hpp>

#include "runtime/base/status.h"
#include "runtime/storage/checksum.h"

namespace switchyard {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFormat[] = "switchyard checkpoint";
constexpr std::string_view kHashKey = ",\n\"hash\":\"";
constexpr std::string_view kEnd = "\"}\n";
constexpr int kMostLevels = 64;  // of JSON within JSON, which is written out by recursion

absl::Status bad(const std::string& what) {
  return error(ErrorCategory::kBadData, absl::StrCat(what, "; the checkpoint is damaged: use an older one"));
}

Json to_json(const StoredTensor& tensor, const std::vector<StoredFile>& files) {
  Json boxes = Json::array();
  for (const StoredBox& stored : tensor.boxes) {
    Json checksums = Json::array();
    for (const uint64_t value : stored.checksums) checksums.push_back(checksum_text(value));
    boxes.push_back({{"offset", stored.box.offset},
                     {"extent", stored.box.extent},
                     {"file", files[stored.file].name},
                     {"byte_offset", stored.byte_offset},
                     {"checksums", std::move(checksums)}});
  }
  return {
      {"name", tensor.name}, {"dtype", dtype_name(tensor.dtype)}, {"shape", tensor.shape}, {"boxes", std::move(boxes)}};
}

// The text that the hash vouches for.
absl::StatusOr<std::string_view> hashed_part(std::string_view text, const std::string& file) {
  const size_t tail = kHashKey.size() + 16 + kEnd.size();
  if (text.size() < tail || text.substr(text.size() - tail, kHashKey.size()) != kHashKey ||
      text.substr(text.size() - kEnd.size()) != kEnd) {
    return bad(absl::StrCat(file, " does not end with its hash"));
  }
  const std::string_view body = text.substr(0, text.size() - tail);
  const std::optional<uint64_t> hash = parse_checksum(text.substr(body.size() + kHashKey.size(), 16));
  if (!hash || *hash != checksum(body.data(), static_cast<int64_t>(body.size()))) {
    return bad(absl::StrCat(file, " does not match its hash"));
  }
  return body;
}

// -1 where it is no size; every number of a manifest is one.
int64_t size_of(const Json& json) {
  const bool fits = json.is_number_unsigned() && json.get<uint64_t>() <= std::numeric_limits<int64_t>::max();
  return fits ? json.get<int64_t>() : -1;
}

std::vector<int64_t> sizes_of(const Json& json) {
  if (!json.is_array()) return {-1};
  std::vector<int64_t> sizes;
  for (const Json& item : json) sizes.push_back(size_of(item));
  return sizes;
}

// These four may throw nlohmann's exceptions.
std::optional<StoredFile> parse_file(const Json& json, int64_t version) {
  StoredFile stored;
  stored.name = json.at("name").get<std::string>();
  stored.bytes = size_of(json.at("bytes"));
  if (stored.name.empty() || stored.name.front() == '.' || stored.name.find('/') != std::string::npos) {
    return std::nullopt;
  }
  if (stored.bytes < 0) return std::nullopt;
  if (version == 1) return stored;
  stored.header_bytes = size_of(json.at("header_bytes"));
  const std::optional<uint64_t> value = parse_checksum(json.at("header").get_ref<const std::string&>());
  if (stored.header_bytes < 1 || stored.header_bytes > stored.bytes || !value) return std::nullopt;
  stored.header_checksum = *value;
  return stored;
}

std::optional<StoredBox> parse_box(const Json& json, const StoredTensor& tensor, const std::vector<StoredFile>& files,
                                   const std::map<std::string, size_t>& file_index) {
  StoredBox stored;
  stored.box.offset = sizes_of(json.at("offset"));
  stored.box.extent = sizes_of(json.at("extent"));
  const size_t dimensions = tensor.shape.size();
  if (stored.box.offset.size() != dimensions || stored.box.extent.size() != dimensions) return std::nullopt;
  for (size_t d = 0; d < dimensions; ++d) {
    const int64_t offset = stored.box.offset[d];
    const int64_t extent = stored.box.extent[d];
    if (offset < 0 || extent < 1 || offset > tensor.shape[d] || extent > tensor.shape[d] - offset) return std::nullopt;
  }
  const auto file = file_index.find(json.at("file").get<std::string>());
  if (file == file_index.end()) return std::nullopt;
  stored.file = file->second;
  const int64_t bytes = stored.box.numel() * dtype_bytes(tensor.dtype);
  const int64_t file_bytes = files[stored.file].bytes;
  stored.byte_offset = size_of(json.at("byte_offset"));
  if (stored.byte_offset < 0 || bytes > file_bytes || stored.byte_offset > file_bytes - bytes) return std::nullopt;
  for (const Json& text : json.at("checksums")) {
    const std::optional<uint64_t> value = parse_checksum(text.get_ref<const std::string&>());
    if (!value) return std::nullopt;
    stored.checksums.push_back(*value);
  }
  if (static_cast<int64_t>(stored.checksums.size()) != chunk_count(bytes)) return std::nullopt;
  return stored;
}

std::optional<StoredTensor> parse_tensor(const Json& json, const std::vector<StoredFile>& files,
                                         const std::map<std::string, size_t>& file_index) {
  StoredTensor tensor;
  tensor.name = json.at("name").get<std::string>();
  tensor.shape = sizes_of(json.at("shape"));
  const std::optional<Dtype> dtype = parse_dtype(json.at("dtype").get_ref<const std::string&>());
  if (!dtype || !tensor_bytes(*dtype, tensor.shape)) return std::nullopt;
  tensor.dtype = *dtype;
  for (const Json& item : json.at("boxes")) {
    std::optional<StoredBox> stored = parse_box(item, tensor, files, file_index);
    if (!stored) return std::nullopt;
    tensor.boxes.push_back(*std::move(stored));
  }
  return tensor;
}

absl::StatusOr<Manifest> from_json(const Json& json, const std::string& file) {
  if (json.at("format").get<std::string>() != kFormat)
    return bad(absl::StrCat(file, " is not a checkpoint's manifest"));
  Manifest manifest;
  manifest.version = size_of(json.at("version"));
  if (manifest.version < 1 || manifest.version > kManifestVersion) {
    return error(ErrorCategory::kBadData,
                 absl::StrCat(file, " has version ", manifest.version, ", and this program reads 1 to ",
                              kManifestVersion, "; use the program that wrote it"));
  }
  if (size_of(json.at("chunk_bytes")) != kChunkBytes) return bad(absl::StrCat(file, ": unknown chunk_bytes"));
  manifest.step = size_of(json.at("step"));
  manifest.run_state = json.at("run_state").dump();
  if (manifest.version > 1) manifest.aliases = json.at("aliases").get<std::map<std::string, std::string>>();
  std::map<std::string, size_t> file_index;
  int64_t room = std::numeric_limits<int64_t>::max();
  for (const Json& item : json.at("files")) {
    std::optional<StoredFile> stored = parse_file(item, manifest.version);
    if (!stored || stored->bytes > room || !file_index.emplace(stored->name, manifest.files.size()).second) {
      return bad(absl::StrCat(file, ": file ", item.at("name").dump(), " has no proper name or size"));
    }
    room -= stored->bytes;
    manifest.files.push_back(*std::move(stored));
  }
  for (const Json& item : json.at("tensors")) {
    std::optional<StoredTensor> tensor = parse_tensor(item, manifest.files, file_index);
    if (!tensor) return bad(absl::StrCat(file, ": impossible tensor ", item.at("name").dump()));
    manifest.tensors.push_back(*std::move(tensor));
  }
  if (manifest.step < 0 || size_of(json.at("total_bytes")) != manifest.total_bytes()) {
    return bad(absl::StrCat(file, ": impossible step or total_bytes"));
  }
  return manifest;
}

// Sorted by dimension 0, so that only boxes that meet there are compared.
bool disjoint(const std::vector<StoredBox>& boxes) {
  std::vector<const Box*> sorted;
  for (const StoredBox& stored : boxes) sorted.push_back(&stored.box);
  std::sort(sorted.begin(), sorted.end(),
            [](const Box* a, const Box* b) { return a->offset.front() < b->offset.front(); });
  for (size_t i = 0; i < sorted.size(); ++i) {
    const int64_t end = sorted[i]->offset.front() + sorted[i]->extent.front();
    for (size_t j = i + 1; j < sorted.size() && sorted[j]->offset.front() < end; ++j) {
      if (!intersect(*sorted[i], *sorted[j]).empty()) return false;
    }
  }
  return true;
}

}  // namespace

int64_t Manifest::total_bytes() const {
  int64_t total = 0;
  for (const StoredFile& file : files) total += file.bytes;
  return total;
}

absl::StatusOr<std::string> serialise_manifest(const Manifest& manifest) {
  const Json run_state = Json::parse(manifest.run_state, nullptr, /*allow_exceptions=*/false);
  if (!run_state.is_object()) {
    return error(ErrorCategory::kUsage, "the run state of a checkpoint must be a JSON object");
  }
  const Json head = {{"format", kFormat},          {"version", kManifestVersion},           {"step", manifest.step},
                     {"chunk_bytes", kChunkBytes}, {"total_bytes", manifest.total_bytes()}, {"run_state", run_state},
                     {"aliases", manifest.aliases}};
  std::string text = head.dump();
  text.pop_back();
  // A line for each file and tensor; never the whole as one JSON value in memory.
  absl::StrAppend(&text, ",\n\"files\":[");
  const char* separator = "\n";
  for (const StoredFile& file : manifest.files) {
    const Json line = {{"name", file.name},
                       {"bytes", file.bytes},
                       {"header_bytes", file.header_bytes},
                       {"header", checksum_text(file.header_checksum)}};
    absl::StrAppend(&text, std::exchange(separator, ",\n"), line.dump());
  }
  absl::StrAppend(&text, "],\n\"tensors\":[");
  separator = "\n";
  for (const StoredTensor& tensor : manifest.tensors) {
    absl::StrAppend(&text, std::exchange(separator, ",\n"), to_json(tensor, manifest.files).dump());
  }
  text += ']';
  const std::string hash = checksum_text(checksum(text.data(), static_cast<int64_t>(text.size())));
  absl::StrAppend(&text, std::string(kHashKey), hash, std::string(kEnd));
  return text;
}

absl::StatusOr<Manifest> parse_manifest(std::string_view text, const std::string& file) {
  SY_ASSIGN_OR_RETURN(const std::string_view body, hashed_part(text, file));
  bool too_deep = false;
  const auto note_depth = [&too_deep](int depth, Json::parse_event_t, const Json&) {
    too_deep = too_deep || depth > kMostLevels;
    return !too_deep;
  };
  try {
    const Json json = Json::parse(absl::StrCat(std::string(body), "}"), note_depth);
    if (too_deep) return bad(absl::StrCat(file, " nests deeper than a manifest does"));
    return from_json(json, file);
  } catch (const Json::exception& e) {
    return bad(absl::StrCat(file, " is not a manifest (", e.what(), ")"));
  }
}

absl::Status check_complete(const Manifest& manifest) {
  std::set<std::string_view> names;
  for (const StoredTensor& tensor : manifest.tensors) {
    if (!names.insert(tensor.name).second) return bad(absl::StrCat("tensor \"", tensor.name, "\" is listed twice"));
    const uint64_t needed = *tensor_bytes(tensor.dtype, tensor.shape) / dtype_bytes(tensor.dtype);
    uint64_t stored = 0;
    for (const StoredBox& box : tensor.boxes) {
      stored += box.box.numel();
      if (stored > needed) break;  // before it wraps
    }
    // Disjoint boxes of the right size in total cover the tensor; a scalar has one box or the size is wrong.
    if (stored != needed || (!tensor.shape.empty() && !disjoint(tensor.boxes))) {
      return bad(absl::StrCat("tensor \"", tensor.name, "\" [", absl::StrJoin(tensor.shape, ","), "]: its boxes hold ",
                              stored, " elements and do not cover it exactly once"));
    }
  }
  for (const auto& [alias, name] : manifest.aliases) {
    if (!names.contains(name) || names.contains(alias)) {
      return bad(absl::StrCat("\"", alias, "\" cannot be a further name of tensor \"", name, "\""));
    }
  }
  return absl::OkStatus();
}

}  // namespace switchyard
