#include "parallel/dispatch/time_dispatchers.h"

#include <chrono>
#include <vector>

#include <ATen/ATen.h>

#include "parallel/dispatch/make_dispatcher.h"
#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"
#include "runtime/numerics/median.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

constexpr int kRepeats = 3;

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

absl::StatusOr<double> time_once(Dispatcher& dispatcher, const at::Tensor& x_TD, const Routing& routing,
                                 Communicator& world) {
  SY_RETURN_IF_ERROR(world.barrier().wait());
  const auto start = std::chrono::steady_clock::now();
  const Dispatched sent = dispatcher.dispatch(x_TD, routing);
  dispatcher.combine(sent.rows_RD, routing.weights, sent.plan).backward(x_TD.detach());
  SY_RETURN_IF_ERROR(world.barrier().wait());  // on a device, after its work
  const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
  return reduce_number(world, taken.count(), ReduceOp::kMax);
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
    SY_RETURN_IF_ERROR(time_once(*dispatcher, x_TD, routing, mesh.world()).status());
    std::vector<double> times;
    for (int i = 0; i < kRepeats; ++i) {
      SY_ASSIGN_OR_RETURN(times.emplace_back(), time_once(*dispatcher, x_TD, routing, mesh.world()));
    }
    milliseconds[kind] = median(std::move(times));
  }
  return milliseconds;
} catch (const StatusError& failure) {
  return failure.status();
}

}  // namespace switchyard
