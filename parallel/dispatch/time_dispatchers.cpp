#include "parallel/dispatch/time_dispatchers.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "parallel/dispatch/make_dispatcher.h"
#include "parallel/dispatch/trial.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

Routing draw(const DispatchTrial& trial) {
  const int64_t slots = trial.tokens * trial.experts_per_token;
  const at::Tensor experts_TK = std::get<1>(at::rand({trial.tokens, trial.experts}).topk(trial.experts_per_token));
  const at::TensorOptions like = trial.options.dtype(at::kLong);
  return {.offsets = at::arange(0, slots + 1, trial.experts_per_token, like),
          .experts = experts_TK.reshape({-1}).to(like.device()),
          .weights =
              at::ones({slots}, trial.options.dtype(accumulate_dtype(c10::typeMetaToScalarType(trial.options.dtype()))))
                  .set_requires_grad(true)};
}

}  // namespace

absl::StatusOr<std::map<DispatcherKind, double>> time_dispatchers(const DispatchTrial& trial, const Mesh& mesh) try {
  const Placement placement = Placement::contiguous(trial.experts, mesh.size(Axis::kExpert));
  const at::Tensor x_TD = at::ones({trial.tokens, trial.width}, trial.options).set_requires_grad(true);
  const Routing routing = draw(trial);
  std::map<DispatcherKind, double> milliseconds;
  for (const DispatcherKind kind :
       {DispatcherKind::kAllToAll, DispatcherKind::kDeduplicated, DispatcherKind::kHierarchical}) {
    if (!check_dispatcher(kind, mesh).ok()) continue;
    const auto dispatcher = make_dispatcher(kind, placement, mesh);
    const auto there_and_back = [&] {
      const Dispatched sent = dispatcher->dispatch(x_TD, routing);
      dispatcher->combine(sent.rows_RD, sent.plan).backward(x_TD.detach());
      return absl::OkStatus();
    };
    SY_ASSIGN_OR_RETURN(milliseconds[kind], trial_ms(there_and_back, mesh.world()));
  }
  return milliseconds;
} catch (const StatusError& failure) {
  return failure.status();
}

DispatcherKind fastest_of(const std::map<DispatcherKind, double>& milliseconds) {
  SY_CHECK(!milliseconds.empty());
  return std::min_element(milliseconds.begin(), milliseconds.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

}  // namespace switchyard
