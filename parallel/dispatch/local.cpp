#include "parallel/dispatch/local.h"

#include "parallel/dispatch/row_exchange.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

class LocalPlan : public RowExchange {
 public:
  LocalPlan(const Routing& routing, int64_t experts) {
    const at::Tensor ids_N = routing.experts.contiguous();
    weights_N = routing.weights;
    rows = ids_N.numel();
    counts = count_slots(ids_N, experts);
    table.offsets = routing.offsets.to(ids_N.device()).contiguous();
    std::vector<RowStart> starts;
    int64_t first = 0;
    for (const int64_t count : counts) {
      starts.push_back({stays_at(first), first});
      first += count;
    }
    index_slots(ids_N, starts, table);
  }

  Arrival deliver(const at::Tensor& /*wire_WD*/, const at::Tensor& /*rows_RD*/) const override {
    return [] {};
  }
  Arrival collect(const at::Tensor& rows_RD, Returned& returned) const override {
    returned = {rows_RD, table, {}, {}};
    return [] {};
  }
};

}  // namespace

std::vector<RowExchangePointer> LocalDispatcher::exchanges_of(std::span<const Routing> chunks) {
  std::vector<RowExchangePointer> plans;
  for (const Routing& routing : chunks) plans.push_back(std::make_shared<LocalPlan>(routing, experts_));
  return plans;
}

}  // namespace switchyard
