// A dispatcher whose plan is one exchange of rows; what kind of plan is all that is left to say.
#pragma once

#include <memory>

#include "parallel/dispatch/dispatcher.h"
#include "parallel/dispatch/row_exchange.h"

namespace switchyard {

class RowDispatcher : public Dispatcher {
 public:
  std::vector<std::shared_ptr<const DispatchPlan>> plan(std::span<const Routing> chunks) final {
    const std::vector<RowExchangePointer> exchanges = exchanges_of(chunks);
    return {exchanges.begin(), exchanges.end()};
  }
  Dispatched begin_dispatch(const at::Tensor& x_TD, const std::shared_ptr<const DispatchPlan>& plan) final {
    const RowExchangePointer exchange = exchange_of(plan);
    return {begin_dispatch_rows(x_TD, exchange), exchange->counts, plan};
  }
  Dispatched end_dispatch(const Dispatched& begun) final {
    return {end_dispatch_rows(begun.rows_RD, exchange_of(begun.plan)), begun.counts, begun.plan};
  }
  at::Tensor begin_combine(const at::Tensor& y_RD, const std::shared_ptr<const DispatchPlan>& plan) final {
    return begin_combine_rows(y_RD, exchange_of(plan));
  }
  at::Tensor end_combine(const at::Tensor& begun, const std::shared_ptr<const DispatchPlan>& plan) final {
    return end_combine_rows(begun, exchange_of(plan));
  }

 private:
  // Of the chunks, with the rows of each local expert. Collective over the dispatch group.
  virtual std::vector<RowExchangePointer> exchanges_of(std::span<const Routing> chunks) = 0;

  static RowExchangePointer exchange_of(const std::shared_ptr<const DispatchPlan>& plan) {
    return std::static_pointer_cast<const RowExchange>(plan);
  }
};

}  // namespace switchyard
