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
  const auto plan = std::make_shared<LocalPlan>();
  plan->rows = ids_N.numel();
  plan->table.offsets = routing.offsets.to(ids_N.device()).contiguous();

  std::vector<int64_t> counts = count_slots(ids_N, experts_);
  std::vector<RowStart> starts;
  int64_t first = 0;
  for (const int64_t count : counts) {
    starts.push_back({stays_at(first), first});
    first += count;
  }
  index_slots(ids_N, starts, plan->table);
  at::Tensor rows_RD = dispatch_rows(x_TD, plan);
  return {rows_RD, std::move(counts), plan};
}

at::Tensor LocalDispatcher::combine(const at::Tensor& y_RD, const at::Tensor& weights_N,
                                    const std::shared_ptr<const DispatchPlan>& plan) {
  return combine_rows(y_RD, weights_N, std::static_pointer_cast<const LocalPlan>(plan));
}

}  // namespace switchyard
