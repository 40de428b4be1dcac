// Memory of a host that the ranks of a group share: a segment for each rank, which all of them map, in one stretch of
// addresses. A rank allocates in its own segment and may use all; who touches what when is for its users to agree
// on, by messages. The memory has no name in the file system, is not bounded by /dev/shm, and goes with its processes.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <absl/status/statusor.h>

#include "runtime/comm/communicator.h"

namespace switchyard {

class SharedMemory {
 public:
  // Collective over `group`, whose ranks are all on one host. kUnavailable, on all ranks alike, where the system does
  // not let them map each other's memory.
  static absl::StatusOr<std::unique_ptr<SharedMemory>> create(Communicator& group);

  // Every so many allocations, a segment gives back what they have not needed, where that is at least half of it.
  static constexpr int64_t kRecent = 1 << 14;

  // Uninitialised [rows, width] on the host, in this rank's segment, which grows to what is in use at once; freed with
  // the last reference to the tensor. Aligned to 64 bytes. Throws std::bad_alloc without addresses; a host without
  // memory is met where pages are first written.
  at::Tensor allocate(int64_t rows, int64_t width, const at::TensorOptions& options) const;

  // All segments as one matrix of such rows, to be touched only where tensors are. The row of it at which a tensor from
  // allocate() begins is the same number on every rank.
  at::Tensor all(int64_t width, const at::TensorOptions& options) const;
  int64_t row_of(const at::Tensor& allocated) const;
  // Whether a contiguous matrix lies in this rank's segment, whole rows from the beginning of one on.
  bool holds(const at::Tensor& rows_RD) const;

  // Keeps a tensor that other ranks may still be reading, until they have come to a point behind: an exchange of
  // messages with all of them that began after this call.
  void retire(at::Tensor tensor) const { retired_.push_back(std::move(tensor)); }
  void all_have_come() const { retired_.clear(); }

 private:
  class Segments;
  explicit SharedMemory(std::shared_ptr<Segments> segments) : segments_(std::move(segments)) {}

  std::shared_ptr<Segments> segments_;  // shared with the tensors
  mutable std::vector<at::Tensor> retired_;
};

}  // namespace switchyard
