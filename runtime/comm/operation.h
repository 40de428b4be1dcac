// One collective of one rank under way: carries out a plan over a transport. It moves on only while somebody polls it:
// the rank that waits for it, or the progress thread.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include <absl/status/status.h>

#include "runtime/comm/collectives.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/operation_label.h"
#include "runtime/comm/transport.h"
#include "runtime/comm/wire_observer.h"

namespace switchyard {

class Operation : public WorkState {
 public:
  // Messages of stage s carry `tag + s`. `observer`: null for none.
  Operation(std::shared_ptr<Transport> transport, Plan plan, uint32_t tag, absl::Duration timeout, OperationLabel label,
            std::shared_ptr<const WireObserver> observer);

  // Sends what the first step sends. Once, before anything else.
  void post();
  // Moves on as far as it can unless another thread is at it; true when finished, well or not. Does not block.
  bool poll();
  // Ends it with `reason` unless it has finished.
  void fail(const absl::Status& reason);

  absl::Status wait() override;
  bool done() override { return finished_.load(std::memory_order_acquire); }
  // Only when done: its buffers must stay alive, since peers may still read and write them.
  bool failed() const { return !status_.ok(); }

 private:
  bool advance();
  void post_step();
  void finish(absl::Status status);
  void tell_observer() const;
  absl::Status timed_out() const;
  std::string headline() const;
  std::string ranks_text(const std::vector<int>& ranks) const;

  const std::shared_ptr<Transport> transport_;
  const uint32_t tag_;
  const absl::Duration timeout_;
  const std::chrono::steady_clock::time_point deadline_;
  const OperationLabel label_;
  const std::shared_ptr<const WireObserver> observer_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();

  std::mutex mutex_;  // of the rest
  Plan plan_;
  size_t step_ = 0;
  bool meanwhile_done_ = false;
  std::unique_ptr<Exchange> exchange_;  // null: this step has not been posted
  absl::Status status_;                 // final once finished_ is set
  std::atomic<bool> finished_ = false;
};

}  // namespace switchyard
