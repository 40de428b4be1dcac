#include "parallel/dispatch/time_dispatchers.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

#include "parallel/dispatch/expert_draw.h"
#include "parallel/dispatch/make_dispatcher.h"
#include "parallel/dispatch/trial.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/device/device.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

absl::StatusOr<std::map<DispatcherKind, double>> time_dispatchers(const DispatchTrial& trial, const Mesh& mesh) {
  const Placement placement = Placement::contiguous(trial.experts, mesh.size(Axis::kExpert));
  const c10::Device device = trial.options.device();
  const at::Tensor x_TD = at::ones({trial.tokens, trial.width}, trial.options).set_requires_grad(true);
  const auto seed = static_cast<uint64_t>(mesh.world().rank());
  const Routing routing =
      routing_to(draw_experts(trial.tokens, trial.experts, trial.experts_per_token, /*skew=*/0, seed), trial.options);
  routing.weights.set_requires_grad(true);
  std::map<DispatcherKind, double> milliseconds;
  for (const DispatcherKind kind :
       {DispatcherKind::kAllToAll, DispatcherKind::kDeduplicated, DispatcherKind::kHierarchical}) {
    if (!check_dispatcher(kind, mesh).ok()) continue;
    const auto dispatcher = make_dispatcher(kind, placement, mesh);
    const auto there_and_back = [&] {
      const int64_t begin_ns = Recorder::now();
      const Dispatched sent = dispatcher->dispatch(x_TD, routing);
      dispatcher->combine(sent.rows_RD, sent.plan).backward(x_TD.detach());
      synchronise(device);
      return std::vector{static_cast<double>(Recorder::now() - begin_ns) / 1e6};
    };
    SY_ASSIGN_OR_RETURN(const std::vector<double> taken, try_out(there_and_back, device, mesh.world()));
    milliseconds[kind] = taken.front();
  }
  return milliseconds;
}

DispatcherKind fastest_of(const std::map<DispatcherKind, double>& milliseconds) {
  SY_CHECK(!milliseconds.empty());
  return std::min_element(milliseconds.begin(), milliseconds.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

}  // namespace switchyard
