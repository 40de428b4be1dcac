#include "parallel/checkpoint/write_boxes.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "runtime/base/status.h"
#include "runtime/storage/checksum.h"
#include "runtime/storage/safetensors.h"
#include "runtime/storage/scalar_type.h"

namespace switchyard {
namespace {

// What other programs see: the tensor's own name where the box is all of it.
std::string name_in_file(const BoxSource& source) {
  return source.box == Box::whole(source.shape) ? source.name
                                                : absl::StrCat(source.name, "@", absl::StrJoin(source.box.offset, ","));
}

int64_t bytes_of(const BoxSource& source) {
  return source.box.numel() * dtype_bytes(source.dtype);
}

// Chunk by chunk, so that each is written while its checksum has just brought it into the cache.
absl::Status stream_tensor(const at::Tensor& data, const Sink& sink) {
  const at::Tensor bytes = data.detach().view({-1}).view(at::kByte);
  for (int64_t begin = 0; begin < bytes.numel(); begin += kChunkBytes) {
    const int64_t size = std::min(kChunkBytes, bytes.numel() - begin);
    const at::Tensor chunk = bytes.narrow(0, begin, size).to(at::kCPU);
    SY_RETURN_IF_ERROR(sink(chunk.const_data_ptr(), size));
  }
  return absl::OkStatus();
}

std::vector<BoxSource> sources_of(std::span<const TensorPart> parts) {
  std::vector<BoxSource> sources;
  for (const TensorPart& part : parts) {
    sources.push_back({part.name, stored_dtype(part.dtype).value(), part.shape, part.box,
                       [&part](const Sink& sink) { return stream_tensor(part.data, sink); }});
  }
  return sources;
}

}  // namespace

int64_t bytes_to_write(std::span<const BoxSource> boxes) {
  constexpr int64_t kDescription = 512;  // of a box in the file's header and in the manifest
  constexpr int64_t kChecksumText = 20;
  int64_t bytes = 0;
  for (const BoxSource& source : boxes) {
    bytes += bytes_of(source) + chunk_count(bytes_of(source)) * kChecksumText + kDescription;
  }
  return bytes;
}

int64_t bytes_to_write(std::span<const TensorPart> parts) {
  return bytes_to_write(sources_of(parts));
}

absl::StatusOr<Manifest> write_boxes(const std::filesystem::path& folder, const std::string& file_name,
                                     std::vector<BoxSource> boxes) {
  // Wider types first: every element is then aligned in the file.
  std::stable_sort(boxes.begin(), boxes.end(),
                   [](const BoxSource& a, const BoxSource& b) { return dtype_bytes(a.dtype) > dtype_bytes(b.dtype); });
  Manifest piece;
  std::vector<StoredEntry> entries;
  for (const BoxSource& source : boxes) {
    piece.tensors.push_back({source.name, source.dtype, source.shape, {}});
    if (!source.box.empty()) entries.push_back({name_in_file(source), source.dtype, source.box.extent, 0, 0});
  }
  if (entries.empty()) return piece;
  SY_ASSIGN_OR_RETURN(SafetensorsWriter file, SafetensorsWriter::create(folder / file_name, std::move(entries)));
  auto entry = file.entries().begin();
  for (size_t i = 0; i < boxes.size(); ++i) {
    if (boxes[i].box.empty()) continue;
    ChunkChecksums checksums;
    SY_RETURN_IF_ERROR(boxes[i].stream([&](const void* data, int64_t bytes) {
      checksums.add(data, bytes);
      return file.write(data, bytes);
    }));
    piece.tensors[i].boxes.push_back({boxes[i].box, 0, file.data_start() + entry->begin, checksums.take()});
    ++entry;
  }
  piece.files.push_back({file_name, file.file_bytes(), file.data_start(), file.header_checksum()});
  SY_RETURN_IF_ERROR(file.commit());
  return piece;
}

absl::StatusOr<Manifest> write_boxes(const std::filesystem::path& folder, const std::string& file_name,
                                     std::span<const TensorPart> parts) {
  return write_boxes(folder, file_name, sources_of(parts));
}

}  // namespace switchyard
