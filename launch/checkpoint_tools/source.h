// What the tools read: checkpoints by a path of any kind, tensors by pattern, data in slabs of bounded size.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/write_boxes.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// `path`: a checkpoint, or a run directory or a folder of checkpoints, whose newest valid one is meant. kMissingInput,
// kBadData or kIo.
absl::StatusOr<std::unique_ptr<Checkpoint>> open_any(const std::filesystem::path& path);

// The same on all ranks of `world`, which rank 0 chooses: a run may save another meanwhile. Collective; all fail alike.
absl::StatusOr<std::unique_ptr<Checkpoint>> open_any(const std::filesystem::path& path, Communicator& world);
// What rank 0 has opened, on all ranks; those of the others do not count. Collective; all fail alike.
absl::StatusOr<std::unique_ptr<Checkpoint>> share_checkpoint(absl::StatusOr<std::unique_ptr<Checkpoint>> opened,
                                                             Communicator& world);

// The folder of checkpoints that `path`, it or a run directory, stands for.
std::filesystem::path folder_of_checkpoints(const std::filesystem::path& path);

// The tensors whose names match any of the patterns (`*`, `?`, `[…]`; a `*` also passes dots), by name. kMissingInput
// for a pattern that nothing matches. No patterns: all tensors.
absl::StatusOr<std::vector<const StoredTensor*>> select_tensors(const Checkpoint& checkpoint,
                                                                const std::vector<std::string>& patterns);
int64_t bytes_of(const StoredTensor& tensor);

// Reads boxes in slabs that together are the box in its row-major order.
class SlabReader {
 public:
  // Borrows the checkpoint. `memory`: bytes of the buffer, at least a chunk: chunks are read whole, and smaller slabs
  // would read each of them again and again.
  SlabReader(Checkpoint& checkpoint, int64_t memory);

  // Calls `use` with each slab: contiguous, on the host, valid until it returns. Errors of Checkpoint::read and of
  // `use`.
  absl::Status read(const StoredTensor& tensor, const Box& box,
                    const std::function<absl::Status(const at::Tensor& slab)>& use);

 private:
  Checkpoint& checkpoint_;
  const int64_t memory_;
  at::Tensor buffer_;  // bytes
};

// The box as a thing to write, read from `reader` (borrowed, like `tensor`).
BoxSource source_of(const StoredTensor& tensor, const Box& box, SlabReader& reader,
                    const std::function<void(int64_t bytes)>& progress);

}  // namespace switchyard
