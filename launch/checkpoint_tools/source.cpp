#include "launch/checkpoint_tools/source.h"

#include <algorithm>
#include <functional>

#include <ATen/ops/empty.h>
#include <absl/strings/str_cat.h>
#include <fnmatch.h>

#include "parallel/checkpoint/folder.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"
#include "runtime/storage/checksum.h"
#include "runtime/storage/directory.h"
#include "runtime/storage/scalar_type.h"

namespace switchyard {
namespace {

// Cuts `box` from dimension `d` on, whose dimensions before have extent 1, into slabs of at most `most` elements.
absl::Status for_each_slab(const Box& box, int64_t most, size_t d, const std::function<absl::Status(const Box&)>& use) {
  if (box.empty()) return absl::OkStatus();
  if (box.numel() <= most || d == box.extent.size()) return use(box);
  const int64_t row = box.numel() / box.extent[d];
  const int64_t rows = std::max<int64_t>(1, most / row);
  for (int64_t begin = 0; begin < box.extent[d]; begin += rows) {
    Box slab = box;
    slab.offset[d] += begin;
    slab.extent[d] = std::min(rows, box.extent[d] - begin);
    SY_RETURN_IF_ERROR(for_each_slab(slab, most, d + 1, use));
  }
  return absl::OkStatus();
}

}  // namespace

std::filesystem::path folder_of_checkpoints(const std::filesystem::path& path) {
  return folder_exists(path / "checkpoints") ? path / "checkpoints" : path;
}

absl::StatusOr<std::unique_ptr<Checkpoint>> open_any(const std::filesystem::path& path) {
  if (!folder_exists(path)) {
    return error(ErrorCategory::kMissingInput, absl::StrCat("there is no folder ", path.string(), "; check the path"));
  }
  std::error_code unknown;
  if (std::filesystem::exists(path / kManifestName, unknown)) return Checkpoint::open(path);
  SY_ASSIGN_OR_RETURN(LatestCheckpoint latest, find_latest(folder_of_checkpoints(path)));
  if (latest.checkpoint) return std::move(latest.checkpoint);
  return error(ErrorCategory::kMissingInput,
               absl::StrCat(path.string(), " is neither a checkpoint nor a folder of checkpoints; check the path"));
}

absl::StatusOr<std::unique_ptr<Checkpoint>> open_any(const std::filesystem::path& path, Communicator& world) {
  return share_checkpoint(world.rank() == 0 ? open_any(path) : nullptr, world);
}

absl::StatusOr<std::unique_ptr<Checkpoint>> share_checkpoint(absl::StatusOr<std::unique_ptr<Checkpoint>> opened,
                                                             Communicator& world) {
  SY_RETURN_IF_ERROR(broadcast_status(world, opened.status()));
  const std::string mine = world.rank() == 0 ? (*opened)->path().string() : std::string();
  SY_ASSIGN_OR_RETURN(const std::string chosen, broadcast_text(world, mine));
  if (world.rank() != 0) opened = Checkpoint::open_manifest(chosen);
  return agree(world, std::move(opened));
}

absl::StatusOr<std::vector<const StoredTensor*>> select_tensors(const Checkpoint& checkpoint,
                                                                const std::vector<std::string>& patterns) {
  std::vector<bool> used(patterns.size(), false);
  std::vector<const StoredTensor*> found;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    bool matches = patterns.empty();
    for (size_t i = 0; i < patterns.size(); ++i) {
      if (::fnmatch(patterns[i].c_str(), tensor.name.c_str(), 0) != 0) continue;
      matches = used[i] = true;
    }
    if (matches) found.push_back(&tensor);
  }
  const auto unused = std::find(used.begin(), used.end(), false);
  if (unused == used.end()) return found;
  return error(ErrorCategory::kMissingInput,
               absl::StrCat("no tensor of ", checkpoint.path().string(), " matches \"", patterns[unused - used.begin()],
                            "\"; `switchyard checkpoint show` lists them"));
}

int64_t bytes_of(const StoredTensor& tensor) {
  return Box::whole(tensor.shape).numel() * dtype_bytes(tensor.dtype);
}

SlabReader::SlabReader(Checkpoint& checkpoint, int64_t memory)
    : checkpoint_(checkpoint), memory_(std::max(memory, kChunkBytes)) {}

absl::Status SlabReader::read(const StoredTensor& tensor, const Box& box,
                              const std::function<absl::Status(const at::Tensor& slab)>& use) {
  const at::ScalarType dtype = scalar_type(tensor.dtype);
  const int64_t item = dtype_bytes(tensor.dtype);
  return for_each_slab(box, memory_ / item, 0, [&](const Box& slab) -> absl::Status {
    const int64_t bytes = slab.numel() * item;
    if (!buffer_.defined() || buffer_.numel() < bytes) buffer_ = at::empty({bytes}, at::kByte);
    const at::Tensor data = buffer_.narrow(0, 0, bytes).view(dtype).view(slab.extent);
    const TensorPart part{tensor.name, dtype, tensor.shape, slab, data};
    SY_RETURN_IF_ERROR(checkpoint_.read({&part, 1}));
    return use(data);
  });
}

BoxSource source_of(const StoredTensor& tensor, const Box& box, SlabReader& reader,
                    const std::function<void(int64_t bytes)>& progress) {
  return {tensor.name, tensor.dtype, tensor.shape, box, [&tensor, box, &reader, progress](const Sink& sink) {
            return reader.read(tensor, box, [&](const at::Tensor& slab) -> absl::Status {
              SY_RETURN_IF_ERROR(sink(slab.const_data_ptr(), static_cast<int64_t>(slab.nbytes())));
              progress(static_cast<int64_t>(slab.nbytes()));
              return absl::OkStatus();
            });
          }};
}

}  // namespace switchyard
