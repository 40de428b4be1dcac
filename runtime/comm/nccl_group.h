// One NCCL communicator of this rank: the queue that its operations run on, in the order of the calls, those that are
// outstanding, and how it ends when one of them fails.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>
#include <nccl.h>

#include "runtime/comm/collectives.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/device_queue.h"
#include "runtime/comm/operation_label.h"

namespace switchyard {

// An operation on a device's queue.
class NcclWork : public WorkState {
 public:
  NcclWork(std::string headline, std::vector<at::Tensor> buffers, absl::Duration timeout);

  // Makes the current stream wait and lets go of the buffers. The host goes on: what fails later comes back from the
  // next call or wait in the group.
  absl::Status wait() override;
  bool done() override;

  const std::string& headline() const { return headline_; }
  absl::Duration timeout() const { return timeout_; }
  std::chrono::steady_clock::time_point deadline() const { return deadline_; }
  // By the group: where the operation ends in the queue; that it failed.
  void queued(std::shared_ptr<Mark> end);
  void fail(const absl::Status& reason);

 private:
  const std::string headline_;
  const absl::Duration timeout_;
  const std::chrono::steady_clock::time_point deadline_;
  std::mutex mutex_;  // of the rest
  std::vector<at::Tensor> buffers_;
  std::shared_ptr<Mark> end_;
  absl::Status failure_;
};

class NcclGroup {
 public:
  // Owns `comm`, whose creation may still be under way (settle).
  NcclGroup(ncclComm_t comm, Seat seat, std::string name, std::unique_ptr<DeviceQueue> queue);
  ~NcclGroup();

  Seat seat() const { return seat_; }
  const std::string& name() const { return name_; }
  c10::DeviceType device_type() const { return queue_->device_type(); }

  std::shared_ptr<NcclWork> start(const OperationLabel& label, Plan plan, absl::Duration timeout);
  // Waits on the host until NCCL has done what its last call began.
  absl::Status settle(absl::Duration timeout);
  // Collective over the group: ncclCommSplit.
  absl::StatusOr<ncclComm_t> split(int color, int key, absl::Duration timeout);
  // Looks for errors, for deadlines that have passed, and lets go of what is done. Does not block.
  void watch();

 private:
  absl::Status carry_out(const Step& step, const NcclWork& work);
  absl::Status settle_until(std::chrono::steady_clock::time_point deadline, absl::Duration timeout);
  void fail(const absl::Status& reason);

  const Seat seat_;
  const std::string name_;
  std::mutex mutex_;  // of the rest
  ncclComm_t comm_;   // null once it has failed
  const std::unique_ptr<DeviceQueue> queue_;
  std::deque<std::shared_ptr<NcclWork>> outstanding_;  // in the queue's order
  absl::Status failure_;
};

// kCommunication, with what NCCL says of it.
absl::Status nccl_error(const char* call, ncclResult_t code, ncclComm_t comm);

}  // namespace switchyard
