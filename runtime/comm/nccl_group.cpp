#include "runtime/comm/nccl_group.h"

#include <thread>

#include <absl/strings/str_cat.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/deadline.h"
#include "runtime/telemetry/in_span.h"

namespace switchyard {
namespace {

// For NCCL's own farewell: peers that are gone must not keep this rank.
constexpr absl::Duration kFarewell = absl::Seconds(10);

absl::Status timed_out(absl::Duration timeout) {
  return error(ErrorCategory::kCommunication, absl::StrCat("timed out after ", absl::FormatDuration(timeout),
                                                           "; NCCL does not tell which rank is late"));
}

// NCCL calls that were only begun are no failure: settle() hears how they end.
bool failed(ncclResult_t code) {
  return code != ncclSuccess && code != ncclInProgress;
}

}  // namespace

absl::Status nccl_error(const char* call, ncclResult_t code, ncclComm_t comm) {
  const char* last = ncclGetLastError(comm);
  return error(ErrorCategory::kCommunication,
               absl::StrCat(call, ": ", ncclGetErrorString(code), last && *last ? absl::StrCat(" (", last, ")") : ""));
}

NcclWork::NcclWork(std::string headline, std::vector<at::Tensor> buffers, absl::Duration timeout)
    : headline_(std::move(headline)),
      timeout_(timeout),
      deadline_(deadline_after(timeout)),
      buffers_(std::move(buffers)) {}

absl::Status NcclWork::wait() {
  std::shared_ptr<Mark> end;
  {
    const std::lock_guard lock(mutex_);
    end = end_;
  }
  if (end) in_span("wait", [&] { end->hold_current(); });  // by the device, of which a listener may keep the time
  const std::lock_guard lock(mutex_);
  buffers_.clear();
  return failure_;
}

bool NcclWork::done() {
  const std::lock_guard lock(mutex_);
  return !end_ || !failure_.ok() || end_->reached();
}

void NcclWork::queued(std::shared_ptr<Mark> end) {
  const std::lock_guard lock(mutex_);
  end_ = std::move(end);
}

void NcclWork::fail(const absl::Status& reason) {
  const std::lock_guard lock(mutex_);
  if (failure_.ok()) failure_ = reason;
}

NcclGroup::NcclGroup(ncclComm_t comm, Seat seat, std::string name, std::unique_ptr<DeviceQueue> queue)
    : seat_(seat), name_(std::move(name)), comm_(comm), queue_(std::move(queue)) {}

NcclGroup::~NcclGroup() {
  if (comm_ == nullptr) return;
  ncclCommFinalize(comm_);
  if (settle_until(deadline_after(kFarewell), kFarewell).ok()) {
    ncclCommDestroy(comm_);
  } else {
    ncclCommAbort(comm_);
  }
}

std::shared_ptr<NcclWork> NcclGroup::start(const OperationLabel& label, Plan plan, absl::Duration timeout) {
  auto work = std::make_shared<NcclWork>(headline(seat_, label), std::move(plan.buffers), timeout);
  const std::lock_guard lock(mutex_);
  absl::Status status = failure_;
  if (status.ok()) {
    queue_->follow_current();
    for (const Step& step : plan.steps) {
      if (status.ok()) status = annotate(carry_out(step, *work), work->headline());
    }
    work->queued(queue_->mark());
    outstanding_.push_back(work);
    if (!status.ok()) fail(status);
  }
  if (!status.ok()) work->fail(status);
  return work;
}

// One group, so that no pair of ranks waits for another pair; empty messages are known as such on both sides.
absl::Status NcclGroup::carry_out(const Step& step, const NcclWork& work) {
  const auto stream = static_cast<cudaStream_t>(queue_->handle());
  ncclResult_t code = ncclGroupStart();
  const char* call = "ncclGroupStart";
  const auto add = [&](const char* name, auto send_or_recv, const Message& message) {
    if (failed(code) || message.bytes == 0) return;
    call = name;
    code = send_or_recv(message.data, static_cast<size_t>(message.bytes), ncclUint8, message.peer, comm_, stream);
  };
  for (const Message& message : step.sends) add("ncclSend", ncclSend, message);
  for (const Message& message : step.receives) add("ncclRecv", ncclRecv, message);
  const ncclResult_t ended = ncclGroupEnd();
  if (failed(code)) return nccl_error(call, code, comm_);
  if (failed(ended)) return nccl_error("ncclGroupEnd", ended, comm_);
  SY_RETURN_IF_ERROR(settle_until(work.deadline(), work.timeout()));
  if (step.meanwhile.bytes > 0) queue_->copy(step.meanwhile.to, step.meanwhile.from, step.meanwhile.bytes);
  if (step.then && step.then->piece_bytes > 0) queue_->reduce(*step.then);
  return absl::OkStatus();
}

absl::Status NcclGroup::settle(absl::Duration timeout) {
  const std::lock_guard lock(mutex_);
  if (!failure_.ok()) return failure_;
  const absl::Status status = settle_until(deadline_after(timeout), timeout);
  if (!status.ok()) fail(status);
  return status;
}

absl::Status NcclGroup::settle_until(std::chrono::steady_clock::time_point deadline, absl::Duration timeout) {
  while (true) {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t code = ncclCommGetAsyncError(comm_, &state);
    if (code != ncclSuccess) return nccl_error("ncclCommGetAsyncError", code, comm_);
    if (state == ncclSuccess) return absl::OkStatus();
    if (state != ncclInProgress) return nccl_error("NCCL", state, comm_);
    if (std::chrono::steady_clock::now() >= deadline) return timed_out(timeout);
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

absl::StatusOr<ncclComm_t> NcclGroup::split(int color, int key, absl::Duration timeout) {
  const std::lock_guard lock(mutex_);
  if (!failure_.ok()) return failure_;
  ncclComm_t part = nullptr;
  const ncclResult_t code = ncclCommSplit(comm_, color, key, &part, nullptr);  // set up as its parent
  absl::Status status = failed(code) ? nccl_error("ncclCommSplit", code, comm_) : absl::OkStatus();
  if (status.ok()) status = settle_until(deadline_after(timeout), timeout);
  if (!status.ok()) {
    fail(status);
    return status;
  }
  return part;
}

void NcclGroup::watch() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || comm_ == nullptr) return;
  // First the errors, so that they meet the operation that they came with.
  ncclResult_t state = ncclSuccess;
  const ncclResult_t code = ncclCommGetAsyncError(comm_, &state);
  const std::string where =
      outstanding_.empty() ? absl::StrCat("group '", name_, "'") : outstanding_.front()->headline();
  if (failed(code)) return fail(annotate(nccl_error("ncclCommGetAsyncError", code, comm_), where));
  if (failed(state)) return fail(annotate(nccl_error("NCCL", state, comm_), where));
  while (!outstanding_.empty() && outstanding_.front()->done()) outstanding_.pop_front();
  for (const auto& work : outstanding_) {
    if (std::chrono::steady_clock::now() < work->deadline()) continue;
    return fail(annotate(timed_out(work->timeout()), work->headline()));
  }
}

// The reason first: whoever waits is set free by the abort.
void NcclGroup::fail(const absl::Status& reason) {
  failure_ = reason;
  for (const auto& work : outstanding_) work->fail(reason);
  outstanding_.clear();
  ncclCommAbort(std::exchange(comm_, nullptr));
}

}  // namespace switchyard
