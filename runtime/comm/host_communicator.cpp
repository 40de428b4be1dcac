#include "runtime/comm/host_communicator.h"

#include <algorithm>

#include <ATen/ops/empty.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

// A tag is (send/recv or collective, sequence number, stage). Sequence numbers wrap long after their messages are gone.
constexpr uint32_t kSequenceLimit = kTagLimit / 2 / kStageLimit;
constexpr uint32_t kPairwise = kTagLimit / 2;

uint32_t tag_of(uint64_t sequence) {
  return static_cast<uint32_t>(sequence % kSequenceLimit) * kStageLimit;
}

}  // namespace

HostCommunicator::HostCommunicator(std::shared_ptr<Transport> transport, std::string name, absl::Duration timeout,
                                   std::shared_ptr<Progress> progress)
    : transport_(std::move(transport)),
      seat_{transport_->rank(), transport_->size()},
      name_(std::move(name)),
      timeout_(timeout),
      progress_(std::move(progress)),
      sent_to_(seat_.size),
      heard_from_(seat_.size) {}

void HostCommunicator::observe(WireObserver observer) {
  observer_ = observer ? std::make_shared<const WireObserver>(std::move(observer)) : nullptr;
}

Work HostCommunicator::all_to_all(at::Tensor send, std::span<const int64_t> send_rows, at::Tensor recv,
                                  std::span<const int64_t> recv_rows, Call call) {
  return collective("all_to_all", plan_all_to_all(seat_, send, send_rows, recv, recv_rows), call);
}

Work HostCommunicator::all_reduce(at::Tensor inout, ReduceOp op, Call call) {
  return collective("all_reduce", plan_all_reduce(seat_, inout, op), call);
}

Work HostCommunicator::reduce_scatter(at::Tensor send, std::span<const int64_t> rows, at::Tensor recv, Call call) {
  return collective("reduce_scatter", plan_reduce_scatter(seat_, send, rows, recv), call);
}

Work HostCommunicator::all_gather(at::Tensor send, at::Tensor recv, std::span<const int64_t> rows, Call call) {
  return collective("all_gather", plan_all_gather(seat_, send, recv, rows), call);
}

Work HostCommunicator::broadcast(at::Tensor inout, int root, Call call) {
  return collective("broadcast", plan_broadcast(seat_, inout, root), call);
}

Work HostCommunicator::barrier(Call call) {
  return collective("barrier", plan_barrier(seat_), call);
}

Work HostCommunicator::send(at::Tensor tensor, int to, Call call) {
  Plan plan = plan_send(seat_, tensor, to);
  const uint64_t sequence = sent_to_[to]++;
  return start("send", std::move(plan), sequence, kPairwise + tag_of(sequence), call);
}

Work HostCommunicator::recv(at::Tensor tensor, int from, Call call) {
  Plan plan = plan_recv(seat_, tensor, from);
  const uint64_t sequence = heard_from_[from]++;
  return start("recv", std::move(plan), sequence, kPairwise + tag_of(sequence), call);
}

Work HostCommunicator::collective(const char* operation, Plan plan, const Call& call) {
  const uint64_t sequence = sequence_++;
  return start(operation, std::move(plan), sequence, tag_of(sequence), call);
}

Work HostCommunicator::start(const char* operation, Plan plan, uint64_t sequence, uint32_t tag, const Call& call) {
  for (const at::Tensor& buffer : plan.buffers) SY_CHECK(buffer.is_cpu());
  const absl::Duration timeout = call.timeout == absl::ZeroDuration() ? timeout_ : call.timeout;
  auto started = std::make_shared<Operation>(transport_, std::move(plan), tag, timeout,
                                             OperationLabel{name_, operation, sequence, call.where, call.placed_bytes},
                                             seat_.size > 1 ? observer_ : nullptr);
  started->post();
  // Alone there is nobody to wait for.
  if (seat_.size == 1) started->poll();
  if (started->done() && !started->failed()) return Work();
  progress_->add(started);
  return Work(std::move(started));
}

absl::StatusOr<std::unique_ptr<Communicator>> HostCommunicator::split(int color, int key, std::string name, Call call) {
  SY_CHECK_GE(color, 0);
  const std::vector<int64_t> ones(seat_.size, 1);
  at::Tensor mine = at::empty({1, 2}, at::kLong);
  mine.data_ptr<int64_t>()[0] = color;
  mine.data_ptr<int64_t>()[1] = key;
  const at::Tensor all = at::empty({seat_.size, 2}, at::kLong);
  SY_RETURN_IF_ERROR(all_gather(mine, all, ones, call).wait());

  const int64_t* colors_and_keys = all.data_ptr<int64_t>();
  std::vector<int> members;
  for (int rank = 0; rank < seat_.size; ++rank) {
    if (colors_and_keys[2 * rank] == color) members.push_back(rank);
  }
  std::stable_sort(members.begin(), members.end(),
                   [&](int a, int b) { return colors_and_keys[2 * a + 1] < colors_and_keys[2 * b + 1]; });
  SY_ASSIGN_OR_RETURN(auto transport, transport_->split(color, members));
  auto group = std::make_unique<HostCommunicator>(std::move(transport), std::move(name), timeout_, progress_);
  group->observer_ = observer_;
  return group;
}

}  // namespace switchyard
