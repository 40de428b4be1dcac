#include "parallel/dispatch/local.h"

#include "parallel/dispatch/row_exchange.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

class LocalPlan : public RowExchange {
 public:
  void deliver(const at::Tensor& /*wire_WD*/, at::Tensor /*rows_RD*/) const override {}
  at::Tensor collect(const at::Tensor& rows_RD) const override { return rows_RD; }
};

}  // namespace

Dispatched LocalDispatcher::dispatch(const at::Tensor& x_TD, const Routing& routing) {
  const at::Tensor ids_N = routing.experts.contiguous();
  const int64_t* ids = ids_N.const_data_ptr<int64_t>();
  const int64_t slots = ids_N.numel();
  const auto plan = std::make_shared<LocalPlan>();
  plan->rows = slots;
  plan->table.offsets = routing.offsets.contiguous();

  std::vector<int64_t> counts = count_slots(ids_N, experts_);
  std::vector<int64_t> next(experts_);
  for (int64_t e = 1; e < experts_; ++e) next[e] = next[e - 1] + counts[e - 1];
  plan->table.target.resize(slots);
  plan->table.returned.resize(slots);
  for (int64_t s = 0; s < slots; ++s) {
    const int64_t row = next[ids[s]]++;
    plan->table.target[s] = SlotTable::stays_at(row);
    plan->table.returned[s] = row;
  }
  at::Tensor rows_RD = dispatch_rows(x_TD, plan);
  return {rows_RD, std::move(counts), plan};
}

at::Tensor LocalDispatcher::combine(const at::Tensor& y_RD, const at::Tensor& weights_N,
                                    const std::shared_ptr<const DispatchPlan>& plan) {
  return combine_rows(y_RD, weights_N, std::static_pointer_cast<const LocalPlan>(plan));
}

}  // namespace switchyard
