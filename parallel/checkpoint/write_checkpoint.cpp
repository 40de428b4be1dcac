#include "parallel/checkpoint/write_checkpoint.h"

#include <algorithm>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/folder.h"
#include "parallel/checkpoint/manifest.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"
#include "runtime/storage/atomic_file.h"
#include "runtime/storage/checksum.h"
#include "runtime/storage/safetensors.h"
#include "runtime/storage/scalar_type.h"

namespace switchyard {
namespace {

// What other programs see: the tensor's own name where the box is all of it.
std::string name_in_file(const TensorPart& part) {
  return part.box == Box::whole(part.shape) ? part.name
                                            : absl::StrCat(part.name, "@", absl::StrJoin(part.box.offset, ","));
}

// Writes `data` chunk by chunk, each while its checksum has just brought it into the cache.
absl::StatusOr<std::vector<uint64_t>> write_data(const at::Tensor& data, SafetensorsWriter& file) {
  const at::Tensor bytes = data.detach().view({-1}).view(at::kByte);
  std::vector<uint64_t> checksums;
  for (int64_t begin = 0; begin < bytes.numel(); begin += kChunkBytes) {
    const int64_t size = std::min(kChunkBytes, bytes.numel() - begin);
    const at::Tensor chunk = bytes.narrow(0, begin, size).to(at::kCPU);
    checksums.push_back(checksum(chunk.const_data_ptr(), size));
    SY_RETURN_IF_ERROR(file.write(chunk.const_data_ptr(), size));
  }
  return checksums;
}

// This rank's file, and the piece of the manifest that describes it.
absl::StatusOr<Manifest> write_boxes(const std::filesystem::path& folder, const std::string& file_name,
                                     std::span<const TensorPart> parts) {
  std::vector<const TensorPart*> stored;
  Manifest piece;
  for (const TensorPart& part : parts) {
    StoredTensor tensor;
    tensor.name = part.name;
    tensor.dtype = stored_dtype(part.dtype).value();
    tensor.shape = part.shape;
    if (part.box.empty()) {
      piece.tensors.push_back(std::move(tensor));
    } else {
      stored.push_back(&part);
    }
  }
  if (stored.empty()) return piece;
  // Wider types first: every element is then aligned in the file.
  std::stable_sort(stored.begin(), stored.end(), [](const TensorPart* a, const TensorPart* b) {
    return c10::elementSize(a->dtype) > c10::elementSize(b->dtype);
  });
  std::vector<StoredEntry> entries;
  for (const TensorPart* part : stored) {
    entries.push_back({name_in_file(*part), stored_dtype(part->dtype).value(), part->box.extent, 0, 0});
  }
  SY_ASSIGN_OR_RETURN(SafetensorsWriter file, SafetensorsWriter::create(folder / file_name, std::move(entries)));
  for (size_t i = 0; i < stored.size(); ++i) {
    SY_ASSIGN_OR_RETURN(std::vector<uint64_t> checksums, write_data(stored[i]->data, file));
    const StoredEntry& entry = file.entries()[i];
    piece.tensors.push_back({stored[i]->name,
                             entry.dtype,
                             stored[i]->shape,
                             {{stored[i]->box, 0, file.data_start() + entry.begin, std::move(checksums)}}});
  }
  piece.files.push_back({file_name, file.file_bytes()});
  SY_RETURN_IF_ERROR(file.commit());
  return piece;
}

// First line a status, then the piece.
std::string encode_piece(const absl::StatusOr<Manifest>& piece) {
  const absl::StatusOr<std::string> text = piece.ok() ? serialise_manifest(*piece) : piece.status();
  return text.ok() ? absl::StrCat(encode_status(absl::OkStatus()), "\n", *text) : encode_status(text.status());
}

absl::StatusOr<Manifest> decode_piece(const std::string& text, int rank) {
  SY_RETURN_IF_ERROR(annotate(decode_status(text), absl::StrCat("checkpoint not written: rank ", rank)));
  return parse_manifest(std::string_view(text).substr(text.find('\n') + 1), absl::StrCat("the message of rank ", rank));
}

absl::Status add_piece(Manifest piece, std::map<std::string, StoredTensor>& tensors, std::vector<StoredFile>& files) {
  for (StoredTensor& tensor : piece.tensors) {
    for (StoredBox& box : tensor.boxes) box.file += files.size();
    const auto [at, inserted] = tensors.try_emplace(tensor.name, tensor);
    if (inserted) continue;
    if (at->second.dtype != tensor.dtype || at->second.shape != tensor.shape) {
      return error(ErrorCategory::kInternal,
                   absl::StrCat("ranks disagree on dtype or shape of tensor \"", tensor.name, "\""));
    }
    std::move(tensor.boxes.begin(), tensor.boxes.end(), std::back_inserter(at->second.boxes));
  }
  std::move(piece.files.begin(), piece.files.end(), std::back_inserter(files));
  return absl::OkStatus();
}

absl::Status write_manifest(const std::filesystem::path& folder, int64_t step, const std::string& run_state,
                            const std::vector<std::string>& pieces) {
  Manifest manifest;
  manifest.step = step;
  manifest.run_state = run_state;
  std::map<std::string, StoredTensor> tensors;
  for (size_t rank = 0; rank < pieces.size(); ++rank) {
    SY_ASSIGN_OR_RETURN(Manifest piece, decode_piece(pieces[rank], static_cast<int>(rank)));
    SY_RETURN_IF_ERROR(add_piece(std::move(piece), tensors, manifest.files));
  }
  for (auto& [name, tensor] : tensors) manifest.tensors.push_back(std::move(tensor));
  if (const absl::Status status = check_complete(manifest); !status.ok()) {
    return error(ErrorCategory::kInternal, absl::StrCat("checkpoint not written: ", status.message()));
  }
  SY_ASSIGN_OR_RETURN(const std::string text, serialise_manifest(manifest));
  return write_file_atomically(folder / kManifestName, text);
}

void keep_newest(const std::filesystem::path& root, int64_t step, int64_t keep) {
  const absl::StatusOr<FolderListing> listing = list_checkpoints(root);
  if (!listing.ok() || !Checkpoint::open(checkpoint_path(root, step)).ok()) return;
  int64_t kept = 1;
  for (const int64_t other : listing->steps) {
    const std::filesystem::path path = checkpoint_path(root, other);
    if (other == step || !Checkpoint::open(path).ok()) continue;
    if (++kept > keep) discard(path);
  }
}

}  // namespace

absl::Status write_checkpoint(const std::filesystem::path& root, int64_t step, std::span<const TensorPart> parts,
                              const std::string& run_state, Communicator& control, const WriteOptions& options) {
  for (const TensorPart& part : parts) check_part(part);
  SY_CHECK_GE(step, 0);
  const bool root_rank = control.rank() == 0;
  const std::filesystem::path staging = staging_path(root, step);
  SY_RETURN_IF_ERROR(broadcast_status(control, root_rank ? begin_staging(root, step) : absl::OkStatus()));

  const std::string file_name = absl::StrFormat("boxes-%05d-of-%05d.safetensors", control.rank(), control.size());
  const std::string piece = encode_piece(write_boxes(staging, file_name, parts));
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> pieces, gather_texts(control, piece));

  absl::Status status;
  if (root_rank) {
    status = write_manifest(staging, step, run_state, pieces);
    if (status.ok()) status = commit_staging(root, step);
    std::error_code ignored;
    if (!status.ok()) std::filesystem::remove_all(staging, ignored);
    if (status.ok() && options.keep > 0) keep_newest(root, step, options.keep);
  }
  return broadcast_status(control, status);
}

}  // namespace switchyard
