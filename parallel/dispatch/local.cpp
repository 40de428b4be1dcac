#include "parallel/dispatch/local.h"

#include "parallel/dispatch/row_exchange.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

class LocalPlan : public RowExchange {
 public:
  Arrival deliver(const at::Tensor& /*wire_WD*/, const at::Tensor& /*rows_RD*/) const override {
    return [] {};
  }
  Arrival collect(const at::Tensor& rows_RD, at::Tensor& returned_SD) const override {
    returned_SD = rows_RD;
    return [] {};
  }
};

}  // namespace

std::pair<RowExchangePointer, std::vector<int64_t>> LocalDispatcher::plan(const Routing& routing) {
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
  return {plan, std::move(counts)};
}

}  // namespace switchyard
