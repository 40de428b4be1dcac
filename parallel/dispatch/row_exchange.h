// What the dispatchers share: the autograd functions of dispatch and combine over a plan that moves rows both ways.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include <ATen/core/Tensor.h>

#include "parallel/dispatch/dispatcher.h"
#include "parallel/dispatch/permute.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// A plan by rows. deliver and collect are each other's mirror and collective over the dispatch group. Both begin a
// transfer and return what ends it: called once, it waits, and throws StatusError when the wire fails. Ends may
// exchange messages too, so that all ranks end what is under way in the same order.
class RowExchange : public DispatchPlan {
 public:
  using Arrival = std::function<void()>;
  // Where rows are written that are to be delivered. The table's targets are rows of places_XD or, below zero, of
  // rows_RD; those of them that take the wire are wire_WD.
  struct Landing {
    SlotTable table;
    at::Tensor places_XD, wire_WD, rows_RD;
  };
  // For rows of this width and kind. Collective over the dispatch group.
  virtual Landing land(int64_t width, const at::TensorOptions& options) const;
  // rows_RD has the rows that stay on this rank in place already; sends wire_WD to the experts elsewhere and puts what
  // arrives from other ranks into rows_RD.
  virtual Arrival deliver(const at::Tensor& wire_WD, const at::Tensor& rows_RD) const = 0;
  // The experts' rows for the slots of this rank's tokens: one of rows_XD for each copy of a slot, at table.returned.
  // They may lie in several ranks' memory, where others read too.
  struct Returned {
    at::Tensor rows_XD;
    SlotTable table;
    at::Tensor lent_RD;     // what other ranks read; undefined: nothing
    at::Tensor arrived_WD;  // where rows_XD lies that came over the wire; undefined: in itself
  };
  // `returned` stays where it is until this has ended, and is whole then.
  virtual Arrival collect(const at::Tensor& rows_RD, Returned& returned) const = 0;
  // Keeps what was lent until the other ranks have read it too; called after rows were read.
  virtual void keep_lent(const Returned& /*returned*/) const {}

  SlotTable table;
  at::Tensor weights_N;         // of the slots, with their autograd; undefined: they are summed as they are
  int64_t wire_rows = 0;        // that take the wire
  int64_t rows = 0;             // R
  std::vector<int64_t> counts;  // of these, each local expert's; of a plan between domains: none

  // Under way between the beginning and the end of a function; of each kind at most one at a time.
  mutable Arrival delivering, collecting;
  mutable Returned returning;  // what collecting fills
};

using RowExchangePointer = std::shared_ptr<const RowExchange>;

// x_TD → rows_RD, which end_dispatch_rows fills. dx = Σ over slots of the returned gradient rows.
at::Tensor begin_dispatch_rows(const at::Tensor& x_TD, const RowExchangePointer& plan);
at::Tensor end_dispatch_rows(const at::Tensor& begun_RD, const RowExchangePointer& plan);

// y_RD → what the end takes: sums over the slots' rows. Where they are weighted it saves the returned rows and the
// weights for the weights' gradient ⟨g, row⟩.
at::Tensor begin_combine_rows(const at::Tensor& y_RD, const RowExchangePointer& plan);
at::Tensor end_combine_rows(const at::Tensor& begun_RD, const RowExchangePointer& plan);

int64_t sum_of(std::span<const int64_t> counts);

// Numbers of the ranks for each other: to[r] of `outgoing` for rank r; from[r] that come back from it. Collective, and
// throws StatusError.
std::vector<int64_t> exchange_numbers(Communicator& ranks, const std::vector<int64_t>& outgoing,
                                      const std::vector<int64_t>& to, const std::vector<int64_t>& from);

// What ends an operation on the wire.
RowExchange::Arrival ends(Work work);

}  // namespace switchyard
