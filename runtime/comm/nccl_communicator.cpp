#include "runtime/comm/nccl_communicator.h"

#include <cstring>

#include <absl/strings/str_cat.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"
#include "runtime/comm/wire_observer.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {
namespace {

// Rank 0 draws the id under which the ranks find each other; it travels over the host's wire.
absl::StatusOr<ncclUniqueId> share_unique_id(Communicator& host) {
  ncclUniqueId id = {};
  absl::Status status;
  if (host.rank() == 0) {
    const ncclResult_t code = ncclGetUniqueId(&id);
    if (code != ncclSuccess) status = nccl_error("ncclGetUniqueId", code, nullptr);
  }
  SY_RETURN_IF_ERROR(broadcast_status(host, status));
  SY_ASSIGN_OR_RETURN(const std::string text, broadcast_text(host, std::string(id.internal, sizeof id.internal)));
  SY_CHECK_EQ(text.size(), sizeof id.internal);
  std::memcpy(id.internal, text.data(), text.size());
  return id;
}

absl::Status no_nccl(const absl::Status& status) {
  return error(ErrorCategory::kUnavailable, absl::StrCat("NCCL does not start: ", std::string(status.message())));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> NcclCommunicator::create(Communicator& host, MakeQueue make_queue,
                                                                       absl::Duration timeout) {
  const absl::StatusOr<ncclUniqueId> id = share_unique_id(host);
  if (!id.ok()) return no_nccl(id.status());
  // Calls that would wait for a peer return at once and are waited for with a deadline.
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t comm = nullptr;
  const ncclResult_t code = ncclCommInitRankConfig(&comm, host.size(), *id, host.rank(), &config);
  if (code != ncclSuccess && code != ncclInProgress) {
    return no_nccl(nccl_error("ncclCommInitRankConfig", code, nullptr));
  }
  auto shared = std::shared_ptr<Shared>(new Shared{std::move(make_queue), timeout, {}});
  std::unique_ptr<NcclCommunicator> world(new NcclCommunicator(host, nullptr, comm, std::move(shared)));
  const absl::Status settled = world->group_->settle(timeout);
  if (!settled.ok()) return no_nccl(settled);
  world->shared_->watchdog.add(world->group_);
  return world;
}

NcclCommunicator::NcclCommunicator(Communicator& host, std::unique_ptr<Communicator> owned_host, ncclComm_t comm,
                                   std::shared_ptr<Shared> shared)
    : owned_host_(std::move(owned_host)),
      host_(host),
      shared_(std::move(shared)),
      group_(std::make_shared<NcclGroup>(comm, Seat{host.rank(), host.size()}, host.name(), shared_->make_queue())) {}

absl::StatusOr<std::unique_ptr<Communicator>> NcclCommunicator::split(int color, int key, std::string name, Call call) {
  SY_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> host, host_.split(color, key, std::move(name), call));
  const absl::Duration timeout = call.timeout == absl::ZeroDuration() ? shared_->timeout : call.timeout;
  absl::StatusOr<ncclComm_t> comm = group_->split(color, key, timeout);
  if (!comm.ok()) return annotate(comm.status(), absl::StrCat("making group '", host->name(), "'"));
  Communicator& part = *host;
  std::unique_ptr<NcclCommunicator> result(new NcclCommunicator(part, std::move(host), *comm, shared_));
  SY_RETURN_IF_ERROR(annotate(result->group_->settle(timeout), absl::StrCat("making group '", part.name(), "'")));
  shared_->watchdog.add(result->group_);
  return result;
}

bool NcclCommunicator::on_host(const at::Tensor& tensor) const {
  return tensor.device().type() != group_->device_type();
}

Work NcclCommunicator::start(const char* operation, Plan plan, const Call& call) {
  for (const at::Tensor& buffer : plan.buffers) SY_CHECK(!on_host(buffer));
  const absl::Duration timeout = call.timeout == absl::ZeroDuration() ? shared_->timeout : call.timeout;
  const uint64_t sequence = sequence_++;
  if (plan.steps.empty()) return Work();  // alone
  const OperationLabel label{host_.name(), operation, sequence, call.where};
  const SentBytes sent = sent_bytes(plan, [this](int peer) { return node_of(peer) == node_of(rank()); });
  Work work(group_->start(label, std::move(plan), timeout));
  tell_observer(label, sent);
  return work;
}

void NcclCommunicator::tell_observer(const OperationLabel& label, const SentBytes& sent) const {
  const std::shared_ptr<const WireObserver> observer = host_.observer();
  if (!observer) return;
  const int64_t now = Recorder::now();
  (*observer)({label, sent.node, sent.remote, now, now});
}

Work NcclCommunicator::all_to_all(at::Tensor send, std::span<const int64_t> send_rows, at::Tensor recv,
                                  std::span<const int64_t> recv_rows, Call call) {
  if (on_host(send)) return host_.all_to_all(std::move(send), send_rows, std::move(recv), recv_rows, call);
  return start("all_to_all", plan_all_to_all(group_->seat(), send, send_rows, recv, recv_rows), call);
}

Work NcclCommunicator::all_reduce(at::Tensor inout, ReduceOp op, Call call) {
  if (on_host(inout)) return host_.all_reduce(std::move(inout), op, call);
  return start("all_reduce", plan_all_reduce(group_->seat(), inout, op), call);
}

Work NcclCommunicator::reduce_scatter(at::Tensor send, std::span<const int64_t> rows, at::Tensor recv, Call call) {
  if (on_host(send)) return host_.reduce_scatter(std::move(send), rows, std::move(recv), call);
  return start("reduce_scatter", plan_reduce_scatter(group_->seat(), send, rows, recv), call);
}

Work NcclCommunicator::all_gather(at::Tensor send, at::Tensor recv, std::span<const int64_t> rows, Call call) {
  if (on_host(send)) return host_.all_gather(std::move(send), std::move(recv), rows, call);
  return start("all_gather", plan_all_gather(group_->seat(), send, recv, rows), call);
}

Work NcclCommunicator::broadcast(at::Tensor inout, int root, Call call) {
  if (on_host(inout)) return host_.broadcast(std::move(inout), root, call);
  return start("broadcast", plan_broadcast(group_->seat(), inout, root), call);
}

Work NcclCommunicator::send(at::Tensor tensor, int to, Call call) {
  if (on_host(tensor)) return host_.send(std::move(tensor), to, call);
  return start("send", plan_send(group_->seat(), tensor, to), call);
}

Work NcclCommunicator::recv(at::Tensor tensor, int from, Call call) {
  if (on_host(tensor)) return host_.recv(std::move(tensor), from, call);
  return start("recv", plan_recv(group_->seat(), tensor, from), call);
}

}  // namespace switchyard
