// What the dispatchers share: the autograd functions of dispatch and combine over a plan that moves rows both ways.
#pragma once

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include "parallel/dispatch/dispatcher.h"
#include "parallel/dispatch/permute.h"

namespace switchyard {

// A plan by rows. deliver and collect are each other's mirror and collective over the dispatch group; they throw
// StatusError when the wire fails.
class RowExchange : public DispatchPlan {
 public:
  // rows_RD has the rows that stay on this rank in place already; sends wire_WD to the experts elsewhere and puts what
  // arrives from other ranks into rows_RD.
  virtual void deliver(const at::Tensor& wire_WD, at::Tensor rows_RD) const = 0;
  // The experts' rows back at their tokens: one row for each copy of a slot, at table.returned.
  virtual at::Tensor collect(const at::Tensor& rows_RD) const = 0;

  SlotTable table;
  int64_t wire_rows = 0;  // that leave this rank
  int64_t rows = 0;       // R
};

// → rows_RD. Nothing is saved for the backward but the plan; dx = Σ over slots of the returned gradient rows.
at::Tensor dispatch_rows(const at::Tensor& x_TD, const std::shared_ptr<const RowExchange>& plan);

// → y_TD, the mirror of dispatch_rows: the plain sum over the slots' rows.
at::Tensor return_rows(const at::Tensor& y_RD, const std::shared_ptr<const RowExchange>& plan);

// → y_TD. Saves the returned rows and the weights, for the weights' gradient ⟨g, row⟩.
at::Tensor combine_rows(const at::Tensor& y_RD, const at::Tensor& weights_N,
                        const std::shared_ptr<const RowExchange>& plan);

// A plan as autograd's contexts carry what is no tensor.
c10::IValue hold(std::shared_ptr<const RowExchange> plan);
std::shared_ptr<const RowExchange> held(const c10::IValue& value);

}  // namespace switchyard
