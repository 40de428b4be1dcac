#include "parallel/checkpoint/write_checkpoint.h"

#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "parallel/checkpoint/folder.h"
#include "parallel/checkpoint/manifest_builder.h"
#include "parallel/checkpoint/retention.h"
#include "parallel/checkpoint/verify.h"
#include "parallel/checkpoint/write_boxes.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"
#include "runtime/storage/atomic_file.h"
#include "runtime/storage/directory.h"

namespace switchyard {
namespace {

// First line a status, then the piece.
std::string encode_piece(const absl::StatusOr<Manifest>& piece) {
  const absl::StatusOr<std::string> text = piece.ok() ? serialise_manifest(*piece) : piece.status();
  return text.ok() ? absl::StrCat(encode_status(absl::OkStatus()), "\n", *text) : encode_status(text.status());
}

absl::StatusOr<Manifest> decode_piece(const std::string& text, int rank) {
  SY_RETURN_IF_ERROR(annotate(decode_status(text), absl::StrCat("checkpoint not written: rank ", rank)));
  return parse_manifest(std::string_view(text).substr(text.find('\n') + 1), absl::StrCat("the message of rank ", rank));
}

absl::Status prepare(const std::filesystem::path& root, int64_t step, double bytes, Communicator& control) {
  SY_ASSIGN_OR_RETURN(const double total, reduce_number(control, bytes, ReduceOp::kSum));
  const bool root_rank = control.rank() == 0;
  return broadcast_status(control,
                          root_rank ? begin_staging(root, step, static_cast<int64_t>(total)) : absl::OkStatus());
}

absl::StatusOr<Manifest> contribute(const Contribution& contribution, const std::filesystem::path& folder,
                                    bool read_back) {
  SY_ASSIGN_OR_RETURN(Manifest piece, contribution.write(folder));
  if (!read_back) return piece;
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> damage, find_damage(folder, piece));
  if (damage.empty()) return piece;
  return error(ErrorCategory::kIo, absl::StrCat("what was written reads back otherwise; check the disk: ", damage[0]));
}

absl::Status write_manifest(const std::filesystem::path& folder, int64_t step, const std::string& run_state,
                            const std::vector<std::string>& pieces, const WriteOptions& options) {
  ManifestBuilder builder;
  for (size_t rank = 0; rank < pieces.size(); ++rank) {
    SY_ASSIGN_OR_RETURN(Manifest piece, decode_piece(pieces[rank], static_cast<int>(rank)));
    SY_RETURN_IF_ERROR(builder.add(std::move(piece)));
  }
  Manifest manifest = builder.take();
  manifest.step = step;
  manifest.run_state = run_state;
  manifest.aliases = options.aliases;
  if (const absl::Status status = check_complete(manifest); !status.ok()) {
    return error(ErrorCategory::kInternal, absl::StrCat("checkpoint not written: ", status.message()));
  }
  SY_ASSIGN_OR_RETURN(const std::string text, serialise_manifest(manifest));
  return write_file_atomically(folder / kManifestName, text);
}

}  // namespace

std::string box_file_name(int index, int count) {
  return absl::StrFormat("boxes-%05d-of-%05d.safetensors", index, count);
}

absl::Status write_checkpoint(const std::filesystem::path& root, int64_t step, const Contribution& contribution,
                              const std::string& run_state, Communicator& control, const WriteOptions& options) {
  SY_CHECK_GE(step, 0);
  SY_RETURN_IF_ERROR(prepare(root, step, static_cast<double>(contribution.bytes), control));
  const std::filesystem::path staging = staging_path(root, step);
  const std::string piece = encode_piece(contribute(contribution, staging, options.read_back));
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> pieces, gather_texts(control, piece));

  absl::Status status;
  if (control.rank() == 0) {
    status = write_manifest(staging, step, run_state, pieces, options);
    if (status.ok()) status = commit_staging(root, step);
    if (status.ok()) {
      apply_retention(root, step, options.keep, options.keep_every);
    } else {
      remove_tree(staging).IgnoreError();  // the next save tries again
    }
  }
  return broadcast_status(control, status);
}

absl::Status write_checkpoint(const std::filesystem::path& root, int64_t step, std::span<const TensorPart> parts,
                              const std::string& run_state, Communicator& control, const WriteOptions& options) {
  for (const TensorPart& part : parts) check_part(part);
  const std::string name = box_file_name(control.rank(), control.size());
  return write_checkpoint(
      root, step,
      Contribution{[&](const std::filesystem::path& folder) { return write_boxes(folder, name, parts); },
                   bytes_to_write(parts)},
      run_state, control, options);
}

}  // namespace switchyard
