#include "parallel/dispatch/all_to_all.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "parallel/dispatch/row_exchange.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

class AllToAllPlan : public RowExchange {
 public:
  AllToAllPlan(Communicator& group, const Placement& placement, int expert_tensor, const Routing& routing);

  Arrival deliver(const at::Tensor& wire_WD, const at::Tensor& rows_RD) const override;
  Arrival collect(const at::Tensor& rows_RD, at::Tensor& returned_SD) const override;
  const std::vector<int64_t>& counts() const { return counts_; }

 private:
  // → [group size, local experts]: the rows that each rank has for each of this rank's experts.
  std::vector<int64_t> exchange_counts(const Placement& placement, const std::vector<int64_t>& slot_counts) const;
  void place_arrivals(const std::vector<int64_t>& arriving);
  void place_slots(const Placement& placement, const at::Tensor& ids_N, const std::vector<int64_t>& slot_counts);
  bool all_on_wire() const { return counts_.size() == 1; }

  Communicator& group_;
  int expert_tensor_;
  std::vector<int64_t> counts_;       // rows of each local expert
  std::vector<int64_t> sent_;         // rows to each rank over the wire
  std::vector<int64_t> received_;     // rows from each rank over the wire
  std::vector<RowSegment> arrivals_;  // a: row as it arrives, b: row of rows_RD; empty where all_on_wire()
  std::vector<RowSegment> own_;       // a: row of the returned buffer, b: row of rows_RD; empty where all_on_wire()
  std::vector<int64_t> own_starts_;   // row of rows_RD at which this rank's rows of each local expert begin
};

AllToAllPlan::AllToAllPlan(Communicator& group, const Placement& placement, int expert_tensor, const Routing& routing)
    : group_(group), expert_tensor_(expert_tensor) {
  const at::Tensor ids_N = routing.experts.contiguous();
  const std::vector<int64_t> slot_counts = count_slots(ids_N, placement.experts);
  counts_.resize(placement.experts_of[group.rank() / expert_tensor].size());
  table.offsets = routing.offsets.to(ids_N.device()).contiguous();
  table.copies = expert_tensor;
  place_arrivals(exchange_counts(placement, slot_counts));
  place_slots(placement, ids_N, slot_counts);
}

std::vector<int64_t> AllToAllPlan::exchange_counts(const Placement& placement,
                                                   const std::vector<int64_t>& slot_counts) const {
  const int64_t local = static_cast<int64_t>(counts_.size());
  std::vector<int64_t> outgoing;
  std::vector<int64_t> outgoing_rows;
  for (int g = 0; g < group_.size(); ++g) {
    const std::vector<int64_t>& experts = placement.experts_of[g / expert_tensor_];
    for (int64_t e : experts) outgoing.push_back(slot_counts[e]);
    outgoing_rows.push_back(static_cast<int64_t>(experts.size()));
  }
  const std::vector<int64_t> incoming_rows(group_.size(), local);
  const at::Tensor send = at::tensor(outgoing, at::kLong);
  const at::Tensor recv = at::empty({group_.size() * local}, at::kLong);
  throw_if_error(group_.all_to_all(send, outgoing_rows, recv, incoming_rows).wait());
  const int64_t* data = recv.const_data_ptr<int64_t>();
  return {data, data + recv.numel()};
}

// Rows of rows_RD: by local expert, then by source. Rows that arrive: by source, then by local expert.
void AllToAllPlan::place_arrivals(const std::vector<int64_t>& arriving) {
  const int64_t local = static_cast<int64_t>(counts_.size());
  const int ranks = group_.size();
  const int self = group_.rank();
  received_.assign(ranks, 0);
  std::vector<int64_t> starts(arriving.size());
  for (int64_t e = 0; e < local; ++e) {
    for (int g = 0; g < ranks; ++g) {
      starts[g * local + e] = rows;
      rows += arriving[g * local + e];
      counts_[e] += arriving[g * local + e];
    }
  }
  int64_t arrived = 0;
  for (int g = 0; g < ranks; ++g) {
    if (g == self && !all_on_wire()) continue;
    for (int64_t e = 0; e < local; ++e) {
      const int64_t count = arriving[g * local + e];
      if (!all_on_wire() && count > 0) arrivals_.push_back({arrived, starts[g * local + e], count});
      received_[g] += count;
      arrived += count;
    }
  }
  own_starts_.assign(starts.begin() + self * local, starts.begin() + (self + 1) * local);
}

void AllToAllPlan::place_slots(const Placement& placement, const at::Tensor& ids_N,
                               const std::vector<int64_t>& slot_counts) {
  const int ranks = group_.size();
  const int self = group_.rank();
  // Within the rows for one rank: where each expert's begin; the same for all ranks that share the expert.
  std::vector<int64_t> next(placement.experts);
  std::vector<int64_t> block(ranks);
  for (int g = 0; g < ranks; ++g) {
    for (int64_t e : placement.experts_of[g / expert_tensor_]) {
      next[e] = block[g];
      block[g] += slot_counts[e];
    }
  }
  sent_ = block;
  if (!all_on_wire()) sent_[self] = 0;
  wire_rows = sum_of(sent_);
  std::vector<int64_t> block_start(ranks);
  for (int g = 1; g < ranks; ++g) block_start[g] = block_start[g - 1] + sent_[g - 1];
  if (!all_on_wire()) block_start[self] = wire_rows;  // rows that stay come last

  std::vector<int64_t> own_shift(placement.experts);  // row within this rank's block → row of rows_RD
  const std::vector<int64_t>& own_experts = placement.experts_of[self / expert_tensor_];
  for (size_t i = 0; i < own_experts.size() && !all_on_wire(); ++i) {
    const int64_t e = own_experts[i];
    own_shift[e] = own_starts_[i] - next[e];
    if (slot_counts[e] > 0) own_.push_back({wire_rows + next[e], own_starts_[i], slot_counts[e]});
  }

  std::vector<RowStart> starts;
  for (int64_t e = 0; e < placement.experts; ++e) {
    for (int c = 0; c < expert_tensor_; ++c) {
      const int g = placement.owner[e] * expert_tensor_ + c;
      const int64_t returned = block_start[g] + next[e];
      const bool stays = g == self && !all_on_wire();
      starts.push_back({stays ? stays_at(own_shift[e] + next[e]) : returned, returned});
    }
  }
  index_slots(ids_N, starts, table);
}

RowExchange::Arrival AllToAllPlan::deliver(const at::Tensor& wire_WD, const at::Tensor& rows_RD) const {
  if (all_on_wire()) return ends(group_.all_to_all(wire_WD, sent_, rows_RD, received_));
  const at::Tensor arrived = at::empty({sum_of(received_), rows_RD.size(1)}, rows_RD.options());
  return [this, arrived, rows_RD, wait = ends(group_.all_to_all(wire_WD, sent_, arrived, received_))] {
    wait();
    copy_segments(arrived, rows_RD, arrivals_);
  };
}

RowExchange::Arrival AllToAllPlan::collect(const at::Tensor& rows_RD, at::Tensor& returned_SD) const {
  returned_SD = at::empty({table.returned.numel(), rows_RD.size(1)}, rows_RD.options());
  if (all_on_wire()) return ends(group_.all_to_all(rows_RD, received_, returned_SD, sent_));
  const at::Tensor leaving = at::empty({sum_of(received_), rows_RD.size(1)}, rows_RD.options());
  copy_segments_reversed(rows_RD, leaving, arrivals_);
  Arrival wait = ends(group_.all_to_all(leaving, received_, returned_SD.narrow(0, 0, wire_rows), sent_));
  copy_segments_reversed(rows_RD, returned_SD, own_);
  return wait;
}

}  // namespace

AllToAllDispatcher::AllToAllDispatcher(Communicator& group, Placement placement, int expert_tensor)
    : group_(group), placement_(std::move(placement)), expert_tensor_(expert_tensor) {
  SY_CHECK_EQ(static_cast<size_t>(group.size()), placement_.experts_of.size() * expert_tensor);
}

std::pair<RowExchangePointer, std::vector<int64_t>> AllToAllDispatcher::plan(const Routing& routing) {
  const auto plan = std::make_shared<AllToAllPlan>(group_, placement_, expert_tensor_, routing);
  return {plan, plan->counts()};
}

}  // namespace switchyard
