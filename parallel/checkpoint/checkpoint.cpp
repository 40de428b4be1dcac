#include "parallel/checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include <ATen/ops/empty.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include "parallel/checkpoint/box_runs.h"
#include "parallel/checkpoint/folder.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"
#include "runtime/storage/checksum.h"
#include "runtime/storage/scalar_type.h"

namespace switchyard {
namespace {

constexpr int64_t kMaxManifest = int64_t{1} << 34;
constexpr int64_t kChunksAtOnce = 16;  // bounds the buffer, and is enough for full disk speed
constexpr size_t kMostOpenFiles = 64;

// The parts of a stored box that are needed, as ranges of chunks of at most kChunksAtOnce.
std::vector<std::pair<int64_t, int64_t>> needed_chunks(BoxRuns runs) {
  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (; !runs.done(); runs.advance()) {
    int64_t chunk = runs.from_byte() / kChunkBytes;
    const int64_t end = chunk_count(runs.from_byte() + runs.bytes());
    if (!ranges.empty()) chunk = std::max(chunk, ranges.back().second);
    for (; chunk < end; ++chunk) {
      const bool extends = !ranges.empty() && ranges.back().second == chunk &&
                           ranges.back().second - ranges.back().first < kChunksAtOnce;
      if (extends) {
        ++ranges.back().second;
      } else {
        ranges.emplace_back(chunk, chunk + 1);
      }
    }
  }
  return ranges;
}

std::string shape_text(Dtype dtype, const std::vector<int64_t>& shape) {
  return absl::StrCat(dtype_name(dtype), " [", absl::StrJoin(shape, ","), "]");
}

}  // namespace

Checkpoint::Checkpoint(std::filesystem::path path, Manifest manifest)
    : path_(std::move(path)), manifest_(std::move(manifest)) {
  for (const StoredTensor& tensor : manifest_.tensors) index_.emplace(tensor.name, &tensor);
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::open(const std::filesystem::path& path) {
  const std::string name = (path / kManifestName).string();
  absl::StatusOr<std::string> text = read_text_file(name, kMaxManifest);
  if (!text.ok()) return annotate(text.status(), absl::StrCat(path.string(), " is not a checkpoint"));
  SY_ASSIGN_OR_RETURN(Manifest manifest, parse_manifest(*text, name));
  SY_RETURN_IF_ERROR(annotate(check_complete(manifest), name));
  for (const StoredFile& stored : manifest.files) {
    SY_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(path / stored.name));
    if (file.size() != stored.bytes) {
      return error(ErrorCategory::kBadData,
                   absl::StrCat(file.path().string(), " has ", file.size(), " bytes and not ", stored.bytes,
                                " as written; the checkpoint is damaged: use an older one"));
    }
  }
  return std::unique_ptr<Checkpoint>(new Checkpoint(path, std::move(manifest)));
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : found->second;
}

absl::Status Checkpoint::read(std::span<const TensorPart> wanted) {
  for (const TensorPart& part : wanted) {
    check_part(part);
    SY_ASSIGN_OR_RETURN(const StoredTensor* tensor, find_like(part));
    if (!part.box.empty()) SY_RETURN_IF_ERROR(read_part(*tensor, part));
  }
  return absl::OkStatus();
}

absl::StatusOr<const StoredTensor*> Checkpoint::find_like(const TensorPart& part) const {
  const StoredTensor* tensor = find(part.name);
  if (tensor == nullptr) {
    return error(ErrorCategory::kBadData, absl::StrCat(path_.string(), " has no tensor \"", part.name,
                                                       "\"; it is a checkpoint of another model or optimizer"));
  }
  const Dtype dtype = stored_dtype(part.dtype).value();
  if (tensor->dtype != dtype || tensor->shape != part.shape) {
    return error(ErrorCategory::kBadData,
                 absl::StrCat(path_.string(), ": tensor \"", part.name, "\" is ",
                              shape_text(tensor->dtype, tensor->shape), ", and this run needs ",
                              shape_text(dtype, part.shape), "; keep the model and precision that wrote it"));
  }
  return tensor;
}

absl::Status Checkpoint::read_part(const StoredTensor& tensor, const TensorPart& part) {
  const bool on_host = part.data.device().is_cpu();
  const at::Tensor host = on_host ? part.data.detach() : at::empty(part.box.extent, part.dtype);
  int64_t filled = 0;
  for (const StoredBox& stored : tensor.boxes) {
    if (intersect(stored.box, part.box).empty()) continue;
    SY_ASSIGN_OR_RETURN(const int64_t bytes,
                        read_box(tensor, stored, part.box, static_cast<char*>(host.mutable_data_ptr())));
    filled += bytes;
  }
  SY_CHECK_EQ(filled, static_cast<int64_t>(host.nbytes()));  // the manifest's boxes cover the tensor exactly once
  if (!on_host) part.data.detach().copy_(host);
  return absl::OkStatus();
}

// Returns the bytes that were copied to `into`, which is dense with the box `wanted`.
absl::StatusOr<int64_t> Checkpoint::read_box(const StoredTensor& tensor, const StoredBox& stored, const Box& wanted,
                                             char* into) {
  BoxRuns runs(stored.box, wanted, dtype_bytes(tensor.dtype));
  const int64_t stored_bytes = stored.box.numel() * dtype_bytes(tensor.dtype);
  int64_t copied = 0;
  for (const auto& [first, last] : needed_chunks(runs)) {
    const int64_t begin = first * kChunkBytes;
    const int64_t end = std::min(last * kChunkBytes, stored_bytes);
    SY_RETURN_IF_ERROR(read_chunks(tensor, stored, begin, end));
    // A run may go on in the next range.
    while (!runs.done() && runs.from_byte() < end) {
      const int64_t from = std::max(runs.from_byte(), begin);
      const int64_t until = std::min(runs.from_byte() + runs.bytes(), end);
      std::memcpy(into + runs.to_byte() + (from - runs.from_byte()), buffer_.data() + (from - begin), until - from);
      copied += until - from;
      if (runs.from_byte() + runs.bytes() > end) break;
      runs.advance();
    }
  }
  return copied;
}

// Fills the buffer with bytes [begin, end) of the stored box, begin at a chunk.
absl::Status Checkpoint::read_chunks(const StoredTensor& tensor, const StoredBox& stored, int64_t begin, int64_t end) {
  SY_ASSIGN_OR_RETURN(const InputFile* input, file(stored.file));
  buffer_.resize(std::max<size_t>(buffer_.size(), end - begin));
  const absl::Status status = input->read(stored.byte_offset + begin, buffer_.data(), end - begin);
  if (!status.ok()) return annotate(status, absl::StrCat("tensor \"", tensor.name, "\""));
  bytes_read_ += end - begin;
  for (int64_t at = begin; at < end; at += kChunkBytes) {
    const int64_t size = std::min(kChunkBytes, end - at);
    if (checksum(buffer_.data() + (at - begin), size) == stored.checksums[at / kChunkBytes]) continue;
    return error(ErrorCategory::kBadData,
                 absl::StrCat(input->path().string(), ": tensor \"", tensor.name, "\", bytes ", stored.byte_offset + at,
                              " to ", stored.byte_offset + at + size,
                              " of the file do not match their checksum; the checkpoint is damaged: use an older one"));
  }
  return absl::OkStatus();
}

absl::StatusOr<const InputFile*> Checkpoint::file(size_t index) {
  if (const auto found = open_files_.find(index); found != open_files_.end()) return &found->second;
  SY_ASSIGN_OR_RETURN(InputFile opened, InputFile::open(path_ / manifest_.files[index].name));
  if (open_files_.size() == kMostOpenFiles) open_files_.clear();
  return &open_files_.emplace(index, std::move(opened)).first->second;
}

absl::StatusOr<LatestCheckpoint> find_latest(const std::filesystem::path& root) {
  LatestCheckpoint latest;
  SY_ASSIGN_OR_RETURN(const FolderListing listing, list_checkpoints(root));
  for (const std::string& name : listing.unfinished) {
    latest.skipped.push_back(absl::StrCat((root / name).string(), " was not finished"));
  }
  for (const int64_t step : listing.steps) {
    absl::StatusOr<std::unique_ptr<Checkpoint>> opened = Checkpoint::open(checkpoint_path(root, step));
    if (opened.ok()) {
      latest.checkpoint = *std::move(opened);
      break;
    }
    if (error_category(opened.status()) == ErrorCategory::kIo) return opened.status();
    latest.skipped.push_back(std::string(opened.status().message()));
  }
  return latest;
}

absl::StatusOr<LatestCheckpoint> find_latest(const std::filesystem::path& root, Communicator& control) {
  absl::StatusOr<LatestCheckpoint> latest = LatestCheckpoint();
  std::string lines;  // the path, empty for none, then what was skipped
  if (control.rank() == 0) {
    latest = find_latest(root);
    if (latest.ok() && latest->checkpoint != nullptr) lines = latest->checkpoint->path().string();
    if (latest.ok())
      for (const std::string& line : latest->skipped) absl::StrAppend(&lines, "\n", line);
  }
  SY_RETURN_IF_ERROR(broadcast_status(control, latest.status()));
  SY_ASSIGN_OR_RETURN(lines, broadcast_text(control, lines));
  absl::Status status;
  if (control.rank() != 0) {
    latest->skipped = absl::StrSplit(lines, '\n');
    const std::string path = latest->skipped.front();
    latest->skipped.erase(latest->skipped.begin());
    absl::StatusOr<std::unique_ptr<Checkpoint>> opened = nullptr;
    if (!path.empty()) opened = Checkpoint::open(path);
    status = opened.status();
    if (opened.ok()) latest->checkpoint = *std::move(opened);
  }
  SY_RETURN_IF_ERROR(agree(control, status));
  return latest;
}

}  // namespace switchyard
