#include "parallel/dispatch/all_to_all.h"

#include <atomic>

#include <ATen/ATen.h>

#include "parallel/dispatch/row_exchange.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

// Where the ranks of the group are: this one, near it (they share memory with it), or far (only the wire gets there).
struct Neighbourhood {
  Communicator& group;
  const Placement& placement;
  int expert_tensor;
  Communicator& node;          // of the group's ranks on this host, in its order
  const SharedMemory* memory;  // of these; null: nobody is near

  bool is_near(int g) const { return memory && g != group.rank() && group.node_of(g) == group.node_of(group.rank()); }
  bool is_far(int g) const { return g != group.rank() && !is_near(g); }
  bool any_near() const { return memory && node.size() > 1; }
  std::vector<int> on_node() const {
    std::vector<int> ranks;
    for (int g = 0; g < group.size(); ++g) {
      if (group.node_of(g) == group.node_of(group.rank())) ranks.push_back(g);
    }
    return ranks;
  }
  const std::vector<int64_t>& experts_of(int g) const { return placement.experts_of[g / expert_tensor]; }
};

class AllToAllPlan : public RowExchange {
 public:
  // slot_counts: of each expert; arriving: rows of each rank for each of this rank's experts.
  AllToAllPlan(const Neighbourhood& ranks, const Routing& routing, const std::vector<int64_t>& slot_counts,
               std::span<const int64_t> arriving);

  Landing land(int64_t width, const at::TensorOptions& options) const override;
  Arrival deliver(const at::Tensor& wire_WD, const at::Tensor& rows_RD) const override;
  Arrival collect(const at::Tensor& rows_RD, Returned& returned) const override;
  void keep_lent(const Returned& returned) const override;

 private:
  void place_arrivals(std::span<const int64_t> arriving);
  void place_slots(const std::vector<int64_t>& slot_counts);
  std::vector<RowStart> starts_in_memory(int64_t RowStart::*field, int64_t own_row, int64_t wire_row) const;
  std::vector<int64_t> tell_near(int64_t first) const;
  Work over_wire(const at::Tensor& send, const std::vector<int64_t>& to, const at::Tensor& recv,
                 const std::vector<int64_t>& from, int64_t placed_rows) const;
  Arrival collect_in_place(const at::Tensor& rows_RD, Returned& returned) const;

  const Neighbourhood ranks_;
  const bool all_on_wire_;  // the own rows too: a rank with a single expert gets its rows in order
  const at::Tensor ids_N_;
  std::vector<int64_t> sent_;            // rows to each rank over the wire
  std::vector<int64_t> received_;        // rows from each rank over the wire
  std::vector<RowSegment> arrivals_;     // a: row as it arrives, b: row of rows_RD; empty where all_on_wire_
  std::vector<RowSegment> own_;          // a: row of the returned buffer, b: row of rows_RD; as arrivals_,
                                         // and empty where any rank is near
  std::vector<int64_t> starts_of_;       // [group size, local experts]: rows of rows_RD
  std::vector<RowStart> starts_;         // of each copy of each expert; where any rank is near, what it tells is
                                         // unknown, and own rows return as rows of rows_RD
  int64_t to_near_ = 0, from_near_ = 0;  // rows
};

}  // namespace

AllToAllDispatcher::AllToAllDispatcher(Communicator& group, Placement placement, int expert_tensor, Communicator& node,
                                       const SharedMemory* memory)
    : group_(group), placement_(std::move(placement)), expert_tensor_(expert_tensor), node_(node), memory_(memory) {
  SY_CHECK_EQ(static_cast<size_t>(group.size()), placement_.experts_of.size() * expert_tensor);
}

std::vector<RowExchangePointer> AllToAllDispatcher::exchanges_of(std::span<const Routing> chunks) {
  std::vector<std::vector<int64_t>> slot_counts;
  for (const Routing& chunk : chunks) {
    slot_counts.push_back(count_slots(chunk.experts.contiguous(), placement_.experts));
  }
  // The rows that this rank has for each expert of every rank, and every rank for each of this one's, chunk by chunk.
  const Neighbourhood ranks{group_, placement_, expert_tensor_, node_,
                            chunks.front().experts.is_cpu() ? memory_ : nullptr};
  const int64_t local = static_cast<int64_t>(ranks.experts_of(group_.rank()).size());
  std::vector<int64_t> outgoing, to;
  for (int g = 0; g < group_.size(); ++g) {
    for (const std::vector<int64_t>& counts : slot_counts) {
      for (const int64_t e : ranks.experts_of(g)) outgoing.push_back(counts[e]);
    }
    to.push_back(static_cast<int64_t>(chunks.size() * ranks.experts_of(g).size()));
  }
  const int64_t from_each = static_cast<int64_t>(chunks.size()) * local;
  const std::vector<int64_t> told =
      exchange_numbers(group_, outgoing, to, std::vector<int64_t>(group_.size(), from_each));

  std::vector<RowExchangePointer> plans;
  for (size_t i = 0; i < chunks.size(); ++i) {
    std::vector<int64_t> arriving;
    for (int g = 0; g < group_.size(); ++g) {
      const auto first = told.begin() + g * from_each + static_cast<int64_t>(i) * local;
      arriving.insert(arriving.end(), first, first + local);
    }
    plans.push_back(std::make_shared<AllToAllPlan>(ranks, chunks[i], slot_counts[i], arriving));
  }
  return plans;
}

namespace {

AllToAllPlan::AllToAllPlan(const Neighbourhood& ranks, const Routing& routing, const std::vector<int64_t>& slot_counts,
                           std::span<const int64_t> arriving)
    : ranks_(ranks),
      all_on_wire_(ranks.experts_of(ranks.group.rank()).size() == 1 && !ranks.any_near()),
      ids_N_(routing.experts.contiguous()) {
  weights_N = routing.weights;
  counts.resize(ranks_.experts_of(ranks_.group.rank()).size());
  table.offsets = routing.offsets.to(ids_N_.device()).contiguous();
  table.copies = ranks_.expert_tensor;
  place_arrivals(arriving);
  place_slots(slot_counts);
}

// Rows of rows_RD: by local expert, then by source. Rows that arrive: by source, then by local expert.
void AllToAllPlan::place_arrivals(std::span<const int64_t> arriving) {
  const int64_t local = static_cast<int64_t>(counts.size());
  const int ranks = ranks_.group.size();
  starts_of_.resize(arriving.size());
  for (int64_t e = 0; e < local; ++e) {
    for (int g = 0; g < ranks; ++g) {
      starts_of_[g * local + e] = rows;
      rows += arriving[g * local + e];
      counts[e] += arriving[g * local + e];
    }
  }
  received_.assign(ranks, 0);
  int64_t arrived = 0;
  for (int g = 0; g < ranks; ++g) {
    const bool far = ranks_.is_far(g) || all_on_wire_;
    int64_t first = 0;
    for (int64_t e = 0; e < local; ++e) {
      const int64_t count = arriving[g * local + e], row = starts_of_[g * local + e];
      if (far && !all_on_wire_ && count > 0) arrivals_.push_back({arrived + first, row, count});
      first += count;
    }
    if (ranks_.is_near(g)) from_near_ += first;
    if (!far) continue;
    received_[g] = first;
    arrived += first;
  }
}

void AllToAllPlan::place_slots(const std::vector<int64_t>& slot_counts) {
  const int ranks = ranks_.group.size();
  const int self = ranks_.group.rank();
  // Within the rows for one rank: where each expert's begin; the same for all ranks that share the expert.
  std::vector<int64_t> next(ranks_.placement.experts);
  std::vector<int64_t> block(ranks);
  for (int g = 0; g < ranks; ++g) {
    for (const int64_t e : ranks_.experts_of(g)) {
      next[e] = block[g];
      block[g] += slot_counts[e];
    }
  }
  // What returns over the wire comes first, then what never left.
  sent_.assign(ranks, 0);
  std::vector<int64_t> block_start(ranks);  // row of the returned buffer at which each rank's begin
  for (int g = 0; g < ranks; ++g) {
    if (ranks_.is_near(g)) to_near_ += block[g];
    if (!ranks_.is_far(g) && !all_on_wire_) continue;
    sent_[g] = block[g];
    block_start[g] = wire_rows;
    wire_rows += block[g];
  }
  if (!all_on_wire_) block_start[self] = wire_rows;

  const std::vector<int64_t>& own_experts = ranks_.experts_of(self);
  const int64_t local = static_cast<int64_t>(own_experts.size());
  std::vector<int64_t> own_row(ranks_.placement.experts);  // of rows_RD
  for (int64_t i = 0; i < local; ++i) {
    const int64_t e = own_experts[i];
    own_row[e] = starts_of_[self * local + i];
    if (!all_on_wire_ && !ranks_.any_near() && slot_counts[e] > 0)
      own_.push_back({block_start[self] + next[e], own_row[e], slot_counts[e]});
  }
  for (int64_t e = 0; e < ranks_.placement.experts; ++e) {
    for (int c = 0; c < ranks_.expert_tensor; ++c) {
      const int g = ranks_.placement.owner[e] * ranks_.expert_tensor + c;
      const int64_t row = block_start[g] + next[e];
      starts_.push_back(
          {g == self && !all_on_wire_ ? stays_at(own_row[e]) : row, g == self && ranks_.any_near() ? own_row[e] : row});
    }
  }
  if (!ranks_.any_near()) index_slots(ids_N_, starts_, table);  // else each landing and collection does
}

RowExchange::Landing AllToAllPlan::land(int64_t width, const at::TensorOptions& options) const {
  if (!ranks_.any_near()) return RowExchange::land(width, options);
  const SharedMemory& memory = *ranks_.memory;
  Landing landing{.table = table,
                  .places_XD = memory.all(width, options),
                  .wire_WD = memory.allocate(wire_rows, width, options),
                  .rows_RD = memory.allocate(rows, width, options)};
  const int64_t own_row = memory.row_of(landing.rows_RD), wire_row = memory.row_of(landing.wire_WD);
  index_slots(ids_N_, starts_in_memory(&RowStart::target, own_row, wire_row), landing.table);
  return landing;
}

// starts_, the targets or what returned, as rows of all memory, but for what stays: own rows lie there from own_row on,
// far ranks' from wire_row on, and near ranks tell where theirs are.
std::vector<RowStart> AllToAllPlan::starts_in_memory(int64_t RowStart::*field, int64_t own_row,
                                                     int64_t wire_row) const {
  const std::vector<int64_t> told = tell_near(own_row);
  std::vector<RowStart> starts = starts_;
  auto next = told.begin();
  for (int g = 0; g < ranks_.group.size(); ++g) {
    for (const int64_t e : ranks_.experts_of(g)) {
      int64_t& row = starts[e * ranks_.expert_tensor + g % ranks_.expert_tensor].*field;
      if (ranks_.is_near(g)) row = *next++;
      if (ranks_.is_far(g)) row += wire_row;
      if (g == ranks_.group.rank() && row >= 0) row += own_row;  // returned; targets there stay as they are
    }
  }
  return starts;
}

// Where near ranks' rows begin for each of their experts, rank by rank; they learn the same of rows_RD, or of rows in
// its order, at row `first` of all memory. Afterwards all of them are known to have come here.
std::vector<int64_t> AllToAllPlan::tell_near(int64_t first) const {
  const int64_t local = static_cast<int64_t>(counts.size());
  std::vector<int64_t> outgoing, to, from;
  for (const int g : ranks_.on_node()) {
    const bool near = ranks_.is_near(g);
    for (int64_t e = 0; near && e < local; ++e) outgoing.push_back(first + starts_of_[g * local + e]);
    to.push_back(near ? local : 0);
    from.push_back(near ? static_cast<int64_t>(ranks_.experts_of(g).size()) : 0);
  }
  std::vector<int64_t> told = exchange_numbers(ranks_.node, outgoing, to, from);
  ranks_.memory->all_have_come();
  return told;
}

RowExchange::Arrival AllToAllPlan::deliver(const at::Tensor& wire_WD, const at::Tensor& rows_RD) const {
  if (all_on_wire_) return ends(over_wire(wire_WD, sent_, rows_RD, received_, 0));
  const at::Tensor arrived = at::empty({sum_of(received_), rows_RD.size(1)}, rows_RD.options());
  return [this, arrived, rows_RD, wait = ends(over_wire(wire_WD, sent_, arrived, received_, to_near_))] {
    wait();
    copy_segments(arrived, rows_RD, arrivals_);
  };
}

// Rows of far ranks. It ends when all ranks have come to it, so that what near ones put into each other's memory before
// is there as well.
Work AllToAllPlan::over_wire(const at::Tensor& send, const std::vector<int64_t>& to, const at::Tensor& recv,
                             const std::vector<int64_t>& from, int64_t placed_rows) const {
  std::atomic_thread_fence(std::memory_order_seq_cst);  // what was put there, before the message that says so
  Call call;
  call.placed_bytes = placed_rows * send.size(1) * static_cast<int64_t>(send.element_size());
  return ranks_.group.all_to_all(send, to, recv, from, call);
}

RowExchange::Arrival AllToAllPlan::collect(const at::Tensor& rows_RD, Returned& returned) const {
  if (ranks_.any_near()) return collect_in_place(rows_RD, returned);
  const int64_t width = rows_RD.size(1);
  returned = {at::empty({table.returned.numel(), width}, rows_RD.options()), table, {}, {}};
  if (all_on_wire_) return ends(over_wire(rows_RD, received_, returned.rows_XD, sent_, 0));
  const at::Tensor leaving = at::empty({sum_of(received_), width}, rows_RD.options());
  copy_segments_reversed(rows_RD, leaving, arrivals_);
  Arrival wait = ends(over_wire(leaving, received_, returned.rows_XD.narrow(0, 0, wire_rows), sent_, 0));
  copy_segments_reversed(rows_RD, returned.rows_XD, own_);
  return wait;
}

// Near ranks read each other's rows, and each its own, where the experts left them.
RowExchange::Arrival AllToAllPlan::collect_in_place(const at::Tensor& rows_RD, Returned& returned) const {
  const SharedMemory& memory = *ranks_.memory;
  const int64_t width = rows_RD.size(1);
  at::Tensor own_RD = rows_RD;
  if (!memory.holds(rows_RD)) own_RD = memory.allocate(rows, width, rows_RD.options()).copy_(rows_RD);
  const at::Tensor arriving = memory.allocate(wire_rows, width, rows_RD.options());
  const at::Tensor leaving = at::empty({sum_of(received_), width}, rows_RD.options());
  copy_segments_reversed(rows_RD, leaving, arrivals_);
  returned = {memory.all(width, rows_RD.options()), table, own_RD, arriving};
  return [this, &returned, wait = ends(over_wire(leaving, received_, arriving, sent_, from_near_))] {
    wait();
    const SharedMemory& all = *ranks_.memory;
    const int64_t own_row = all.row_of(returned.lent_RD), wire_row = all.row_of(returned.arrived_WD);
    index_slots(ids_N_, starts_in_memory(&RowStart::returned, own_row, wire_row), returned.table);
  };
}

void AllToAllPlan::keep_lent(const Returned& returned) const {
  if (returned.lent_RD.defined()) ranks_.memory->retire(returned.lent_RD);
}

}  // namespace

}  // namespace switchyard
