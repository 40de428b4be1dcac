#include "parallel/checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
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
#include "runtime/storage/file.h"
#include "runtime/storage/scalar_type.h"

namespace switchyard {
namespace {

constexpr int64_t kMaxManifest = int64_t{1} << 34;

std::string shape_text(Dtype dtype, const std::vector<int64_t>& shape) {
  return absl::StrCat(dtype_name(dtype), " [", absl::StrJoin(shape, ","), "]");
}

}  // namespace

Checkpoint::Checkpoint(std::filesystem::path path, Manifest manifest)
    : path_(std::move(path)), manifest_(std::move(manifest)), reader_(path_, manifest_) {
  for (const StoredTensor& tensor : manifest_.tensors) index_.emplace(tensor.name, &tensor);
  for (const auto& [alias, name] : manifest_.aliases) index_.emplace(alias, index_.at(name));
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::open_manifest(const std::filesystem::path& path) {
  const std::string name = (path / kManifestName).string();
  absl::StatusOr<std::string> text = read_text_file(name, kMaxManifest);
  if (!text.ok()) return annotate(text.status(), absl::StrCat(path.string(), " is not a checkpoint"));
  SY_ASSIGN_OR_RETURN(Manifest manifest, parse_manifest(*text, name));
  SY_RETURN_IF_ERROR(annotate(check_complete(manifest), name));
  return std::unique_ptr<Checkpoint>(new Checkpoint(path, std::move(manifest)));
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::open(const std::filesystem::path& path) {
  SY_ASSIGN_OR_RETURN(std::unique_ptr<Checkpoint> checkpoint, open_manifest(path));
  for (size_t file = 0; file < checkpoint->manifest_.files.size(); ++file) {
    SY_RETURN_IF_ERROR(checkpoint->reader_.check_file(file));
  }
  return checkpoint;
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
    return error(ErrorCategory::kBadConfig, absl::StrCat(path_.string(), " has no tensor \"", part.name,
                                                         "\"; it is a checkpoint of another model or optimizer"));
  }
  const Dtype dtype = stored_dtype(part.dtype).value();
  if (tensor->dtype != dtype || tensor->shape != part.shape) {
    return error(ErrorCategory::kBadConfig,
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

// Returns the bytes that were copied to `into`, which is dense with the box `wanted`. A chunk that is wanted whole, and
// in one piece, is read in its place; others by way of the buffer.
absl::StatusOr<int64_t> Checkpoint::read_box(const StoredTensor& tensor, const StoredBox& stored, const Box& wanted,
                                             char* into) {
  BoxRuns runs(stored.box, wanted, dtype_bytes(tensor.dtype));
  const int64_t stored_bytes = stored.box.numel() * dtype_bytes(tensor.dtype);
  int64_t copied = 0;
  int64_t at = runs.from_byte();  // in the stored box: what comes next of the present run
  while (!runs.done()) {
    const int64_t chunk = at / kChunkBytes;
    const int64_t begin = chunk * kChunkBytes;
    const int64_t end = std::min(begin + kChunkBytes, stored_bytes);
    const bool in_place = at == begin && runs.from_byte() + runs.bytes() >= end;
    if (!in_place) buffer_.resize(kChunkBytes);
    char* const data = in_place ? into + runs.to_byte() + (at - runs.from_byte()) : buffer_.data();
    SY_RETURN_IF_ERROR(reader_.read(tensor, stored, chunk, data));
    while (!runs.done() && at < end) {
      const int64_t until = std::min(runs.from_byte() + runs.bytes(), end);
      if (!in_place) std::memcpy(into + runs.to_byte() + (at - runs.from_byte()), data + (at - begin), until - at);
      copied += until - at;
      at = until;
      if (at < runs.from_byte() + runs.bytes()) break;
      runs.advance();
      at = runs.from_byte();
    }
  }
  return copied;
}

absl::StatusOr<LatestCheckpoint> find_latest(const std::filesystem::path& root, int64_t before) {
  LatestCheckpoint latest;
  SY_ASSIGN_OR_RETURN(const FolderListing listing, list_checkpoints(root));
  if (before == kAnyStep) {
    for (const std::string& name : listing.unfinished) {
      latest.skipped.push_back(absl::StrCat((root / name).string(), " was not finished"));
    }
  }
  const size_t unfinished = latest.skipped.size();
  for (const int64_t step : listing.steps) {
    if (step >= before) continue;
    absl::StatusOr<std::unique_ptr<Checkpoint>> opened = Checkpoint::open(checkpoint_path(root, step));
    if (opened.ok()) {
      latest.checkpoint = *std::move(opened);
      break;
    }
    if (error_category(opened.status()) == ErrorCategory::kIo) return opened.status();
    latest.skipped.push_back(std::string(opened.status().message()));
  }
  const size_t invalid = latest.skipped.size() - unfinished;
  if (latest.checkpoint == nullptr && invalid > 0) {
    return error(ErrorCategory::kBadData,
                 absl::StrCat("no checkpoint in ", root.string(),
                              " can be used, move them away to start afresh: ", absl::StrJoin(latest.skipped, "\n")));
  }
  return latest;
}

absl::StatusOr<LatestCheckpoint> find_latest(const std::filesystem::path& root, Communicator& control, int64_t before) {
  absl::StatusOr<LatestCheckpoint> latest = LatestCheckpoint();
  std::string lines;  // the path, empty for none, then what was skipped
  if (control.rank() == 0) {
    latest = find_latest(root, before);
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
    if (!path.empty()) opened = Checkpoint::open_manifest(path);
    status = opened.status();
    if (opened.ok()) latest->checkpoint = *std::move(opened);
  }
  SY_RETURN_IF_ERROR(agree(control, status));
  return latest;
}

}  // namespace switchyard
