#include "launch/verify/wire_faults.h"

#include <numeric>

#include <ATen/ATen.h>
#include <absl/strings/match.h>

namespace switchyard {
namespace {

at::Tensor own_rows(const Communicator& wire, const at::Tensor& send, std::span<const int64_t> rows) {
  const int64_t begin = std::accumulate(rows.begin(), rows.begin() + wire.rank(), int64_t{0});
  return send.narrow(0, begin, rows[wire.rank()]);
}

bool is_group(const Communicator& wire, const std::string& group) {
  return group.empty() || (group.front() == '/' ? absl::EndsWith(wire.name(), group) : wire.name() == group);
}

}  // namespace

bool called_from(const Call& call, std::string_view file) {
  return std::string_view(call.where.file_name()).ends_with(file);
}

Work UnsummedScatter::reduce_scatter(Communicator& wire, at::Tensor send, std::span<const int64_t> rows,
                                     at::Tensor recv, Call call) {
  if (!is_group(wire, group_)) return wire.reduce_scatter(send, rows, recv, call);
  const at::Tensor own = own_rows(wire, send, rows).clone();
  Work work = wire.reduce_scatter(send, rows, recv, call);
  if (work.wait().ok()) recv.copy_(changes_->note(recv, own));
  return work;
}

Work ChangedScatter::reduce_scatter(Communicator& wire, at::Tensor send, std::span<const int64_t> rows, at::Tensor recv,
                                    Call call) {
  if (is_group(wire, group_)) send = changes_->note(send, change_(send, wire.size()));
  return wire.reduce_scatter(send, rows, recv, call);
}

Work UnsummedReduce::all_reduce(Communicator& wire, at::Tensor inout, ReduceOp op, Call call) {
  if (op != ReduceOp::kSum || !is_group(wire, group_) || !called_from(call, file_)) {
    return wire.all_reduce(inout, op, call);
  }
  const at::Tensor own = inout.clone();
  Work work = wire.all_reduce(inout, op, call);
  if (work.wait().ok()) inout.copy_(changes_->note(inout, own));
  return work;
}

Work StaleNorm::all_reduce(Communicator& wire, at::Tensor inout, ReduceOp op, Call call) {
  Work work = wire.all_reduce(inout, op, call);
  if (!called_from(call, "gradient/clip.cpp")) return work;
  if (!work.wait().ok()) return work;
  const at::Tensor fresh = inout.clone();
  if (before_.defined()) inout.copy_(changes_->note(inout, before_));
  before_ = fresh;
  return work;
}

// The norm is taken once a step, before the update.
Work StaleShard::all_reduce(Communicator& wire, at::Tensor inout, ReduceOp op, Call call) {
  if (called_from(call, "gradient/clip.cpp")) before_ = std::exchange(now_, {});
  return wire.all_reduce(inout, op, call);
}

Work StaleShard::all_gather(Communicator& wire, at::Tensor send, at::Tensor recv, std::span<const int64_t> rows,
                            Call call) {
  if (!called_from(call, "optimizer/value_gather.cpp")) return wire.all_gather(send, recv, rows, call);
  std::vector<at::Tensor>& sent = now_[&wire];
  const size_t index = sent.size();
  sent.push_back(send.clone());
  const auto before = before_.find(&wire);
  if (before != before_.end()) send = changes_->note(send, before->second[index]);
  return wire.all_gather(send, recv, rows, call);
}

}  // namespace switchyard
