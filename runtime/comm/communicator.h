// An abstract handle on an ordered group of ranks. Contract:
// - Every call but the accessors is collective: all ranks of the group make the same calls in the same order (send and
//   recv: the two ranks named). Several calls may be outstanding; they complete in any order.
// - Calls return at once with a Work; buffers are kept alive by it and must not be written (read, for outputs) until it
//   is waited for. Dropping a Work does not cancel it.
// - Tensors are contiguous and on the backend's device. "Rows" are slices of dimension 0; all ranks agree on the row
//   shape and the dtype. Empty tensors and zero counts are ordinary.
// - Sums are taken in rank order, 16-bit dtypes in fp32: the same bits over every host backend.
// - Failures (timeout, a lost peer) name rank, group, operation, sequence number, call site and the silent peers; their
//   category is kCommunication. After one the job can only end.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <source_location>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

namespace switchyard {

enum class ReduceOp { kSum, kMax, kMin };

// What an outstanding call is waiting for; shared with the backend.
class WorkState {
 public:
  virtual ~WorkState() = default;
  // Blocks the host (or makes the current device stream wait) until the outputs may be read.
  virtual absl::Status wait() = 0;
  virtual bool done() = 0;
};

class [[nodiscard]] Work {
 public:
  Work() = default;  // done
  explicit Work(std::shared_ptr<WorkState> state) : state_(std::move(state)) {}
  absl::Status wait() { return state_ ? state_->wait() : absl::OkStatus(); }
  bool done() const { return !state_ || state_->done(); }

 private:
  std::shared_ptr<WorkState> state_;
};

struct Call {
  Call(std::source_location where = std::source_location::current()) : where(where) {}  // NOLINT: implicit by design
  Call(absl::Duration timeout, std::source_location where = std::source_location::current())
      : timeout(timeout), where(where) {}
  absl::Duration timeout = absl::ZeroDuration();  // zero: the communicator's default
  int64_t placed_bytes = 0;  // put into memory of its host's ranks, or left where they read it; counted as if sent
  std::source_location where;
};

struct FinishedOperation;
using WireObserver = std::function<void(const FinishedOperation& operation)>;

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const std::string& name() const = 0;
  // Index of the host that `rank` runs on; equal for ranks that share memory.
  virtual int node_of(int rank) const = 0;
  // Who is told of what goes over this rank's wires (wire_observer.h). Null: nobody.
  virtual std::shared_ptr<const WireObserver> observer() const { return nullptr; }

  // Sends `send_rows[r]` consecutive rows of `send` to rank r; receives `recv_rows[r]` rows from r into `recv`, in rank
  // order. What r sends here must equal what is expected from r.
  virtual Work all_to_all(at::Tensor send, std::span<const int64_t> send_rows, at::Tensor recv,
                          std::span<const int64_t> recv_rows, Call call = {}) = 0;
  // In place. kMax and kMin take floating and integer dtypes.
  virtual Work all_reduce(at::Tensor inout, ReduceOp op, Call call = {}) = 0;
  // Sum over ranks of `send`; this rank keeps its `rows[rank]` rows (sum of rows = send.size(0)).
  virtual Work reduce_scatter(at::Tensor send, std::span<const int64_t> rows, at::Tensor recv, Call call = {}) = 0;
  // `recv` = the ranks' `send` in rank order, rank r giving `rows[r]` rows.
  virtual Work all_gather(at::Tensor send, at::Tensor recv, std::span<const int64_t> rows, Call call = {}) = 0;
  virtual Work broadcast(at::Tensor inout, int root, Call call = {}) = 0;
  virtual Work send(at::Tensor tensor, int to, Call call = {}) = 0;
  virtual Work recv(at::Tensor tensor, int from, Call call = {}) = 0;
  virtual Work barrier(Call call = {}) = 0;

  // Ranks with equal `color` form a new group, ordered by (key, rank). `name` is for messages.
  virtual absl::StatusOr<std::unique_ptr<Communicator>> split(int color, int key, std::string name, Call call = {}) = 0;
};

}  // namespace switchyard
