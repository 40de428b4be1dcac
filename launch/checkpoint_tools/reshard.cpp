#include <algorithm>

#include <absl/strings/str_cat.h>

#include "launch/checkpoint_tools/progress_line.h"
#include "launch/checkpoint_tools/source.h"
#include "launch/checkpoint_tools/tools.h"
#include "parallel/checkpoint/folder.h"
#include "parallel/checkpoint/manifest_builder.h"
#include "parallel/checkpoint/write_checkpoint.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/storage/directory.h"

namespace switchyard {
namespace {

struct Piece {
  const StoredTensor* tensor;
  Box box;
};

// What each file is to hold: tensors cut along dimension 0, those with fewer rows than files whole, where least is.
std::vector<std::vector<Piece>> spread(const Checkpoint& checkpoint, int files) {
  std::vector<std::vector<Piece>> pieces(files);
  std::vector<int64_t> bytes(files);
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    const Box whole = Box::whole(tensor.shape);
    if (tensor.shape.empty() || tensor.shape.front() < files) {
      const auto least = std::min_element(bytes.begin(), bytes.end());
      *least += bytes_of(tensor);
      pieces[least - bytes.begin()].push_back({&tensor, whole});
      continue;
    }
    for (int file = 0; file < files; ++file) {
      Box box = whole;
      const auto [begin, end] = cut(tensor.shape.front(), files, file);
      box.offset.front() = begin;
      box.extent.front() = end - begin;
      bytes[file] += box.numel() * dtype_bytes(tensor.dtype);
      pieces[file].push_back({&tensor, std::move(box)});
    }
  }
  return pieces;
}

absl::Status check_output(const std::filesystem::path& path, int rank) {
  if (rank != 0 || !folder_exists(path)) return absl::OkStatus();
  return error(ErrorCategory::kUsage, absl::StrCat(path.string(), " exists already; choose another --output"));
}

}  // namespace

absl::Status reshard_checkpoint(const std::string& path, const ReshardOptions& options, Communicator& world,
                                const ToolOutput& output) {
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, open_any(path, world));
  const Manifest& manifest = checkpoint->manifest();
  const std::filesystem::path target = checkpoint_path(options.output, manifest.step);
  SY_RETURN_IF_ERROR(agree(world, check_output(target, world.rank())));

  const std::vector<std::vector<Piece>> pieces = spread(*checkpoint, options.files);
  SlabReader reader(*checkpoint, options.memory);
  ProgressLine progress(output.progress, "reshard", manifest.total_bytes() / world.size());
  const auto sources_of_file = [&](int file) {
    std::vector<BoxSource> sources;
    for (const auto& [tensor, box] : pieces[file]) {
      sources.push_back(source_of(*tensor, box, reader, [&](int64_t bytes) { progress.add(bytes); }));
    }
    return sources;
  };
  Contribution contribution;
  for (int file = world.rank(); file < options.files; file += world.size()) {
    contribution.bytes += bytes_to_write(sources_of_file(file));
  }
  contribution.write = [&](const std::filesystem::path& folder) -> absl::StatusOr<Manifest> {
    ManifestBuilder builder;
    for (int file = world.rank(); file < options.files; file += world.size()) {
      SY_ASSIGN_OR_RETURN(Manifest piece,
                          write_boxes(folder, box_file_name(file, options.files), sources_of_file(file)));
      SY_RETURN_IF_ERROR(builder.add(std::move(piece)));
    }
    return builder.take();
  };
  SY_RETURN_IF_ERROR(agree(world, write_checkpoint(options.output, manifest.step, contribution, manifest.run_state,
                                                   world, {.aliases = manifest.aliases})));
  if (output.out) *output.out << "wrote " << target.string() << " in " << options.files << " files\n";
  return absl::OkStatus();
}

}  // namespace switchyard
