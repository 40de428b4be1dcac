#include "launch/bench/own_rows.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include <ATen/ATen.h>

#include "launch/bench/tier_bytes.h"
#include "parallel/dispatch/dispatcher_decorator.h"
#include "parallel/topology/placement.h"

namespace switchyard {
namespace {

class OwnRows final : public DispatcherDecorator {
 public:
  OwnRows(std::unique_ptr<Dispatcher> dispatcher, Recorder& recorder, Placement placement, int index)
      : DispatcherDecorator(std::move(dispatcher)),
        recorder_(recorder),
        placement_(std::move(placement)),
        index_(index) {}

  std::vector<std::shared_ptr<const DispatchPlan>> plan(std::span<const Routing> parts) override {
    auto plans = DispatcherDecorator::plan(parts);
    for (size_t i = 0; i < plans.size(); ++i) own_slots_[plans[i].get()] = own_slots(parts[i]);
    return plans;
  }
  Dispatched begin_dispatch(const at::Tensor& x_TD, const std::shared_ptr<const DispatchPlan>& plan) override {
    const int64_t slots = own_slots_.extract(plan.get()).mapped();
    if (recorder_.records_spans()) {
      const int64_t passes = at::GradMode::is_enabled() ? 4 : 2;  // a forward that is computed again has no backward
      record_own_bytes(recorder_, passes * slots * x_TD.size(1) * x_TD.element_size());
    }
    return DispatcherDecorator::begin_dispatch(x_TD, plan);
  }

 private:
  int64_t own_slots(const Routing& routing) const {
    const at::Tensor experts_N = routing.experts.cpu().contiguous();
    const auto* ids = experts_N.const_data_ptr<int64_t>();
    return std::count_if(ids, ids + experts_N.numel(), [this](int64_t e) { return placement_.owner[e] == index_; });
  }

  Recorder& recorder_;
  const Placement placement_;
  const int index_;                                   // of this rank along the expert axis
  std::map<const DispatchPlan*, int64_t> own_slots_;  // of plans that have not been used yet
};

}  // namespace

Decorators record_own_rows(Recorder& recorder, int64_t experts, const Mesh& mesh) {
  Decorators decorators;
  decorators.dispatcher = [&recorder, experts, &mesh](std::unique_ptr<Dispatcher> dispatcher) {
    return std::make_unique<OwnRows>(std::move(dispatcher), recorder,
                                     Placement::contiguous(experts, mesh.size(Axis::kExpert)),
                                     mesh.index(Axis::kExpert));
  };
  return decorators;
}

}  // namespace switchyard
