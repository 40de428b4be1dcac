#include "launch/verify/own_loss.h"

#include <limits>

#include <ATen/ATen.h>

#include "runtime/base/status.h"

namespace switchyard {

absl::StatusOr<OwnLoss> loss_of_logits(Communicator& world, std::span<const TensorPart> logits,
                                       const at::Tensor& targets_T) {
  const auto rows_of = [](const at::Tensor& all_T, const TensorPart& part) {
    return all_T.narrow(0, part.box.offset[0], part.box.extent[0]);
  };
  const at::Tensor largest_T = at::full(targets_T.sizes(), -std::numeric_limits<double>::infinity(), at::kDouble);
  for (const TensorPart& part : logits) {
    if (part.box.empty()) continue;
    const at::Tensor rows = rows_of(largest_T, part);
    rows.copy_(at::maximum(rows, part.data.to(at::kDouble).amax(1)));
  }
  SY_RETURN_IF_ERROR(world.all_reduce(largest_T, ReduceOp::kMax).wait());

  const at::Tensor sums_2T = at::zeros({2, targets_T.size(0)}, at::kDouble);
  const at::Tensor exponentials_T = sums_2T[0], of_target_T = sums_2T[1];
  for (const TensorPart& part : logits) {
    if (part.box.empty()) continue;
    const at::Tensor x_tV = part.data.to(at::kDouble);
    rows_of(exponentials_T, part).add_((x_tV - rows_of(largest_T, part).unsqueeze(1)).exp().sum(1));
    const at::Tensor column_t = rows_of(targets_T, part) - part.box.offset[1];
    const at::Tensor here_t =
        column_t.ge(0).logical_and(column_t.lt(part.box.extent[1])).logical_and(rows_of(targets_T, part).ge(0));
    const at::Tensor picked_t = x_tV.gather(1, column_t.clamp(0, part.box.extent[1] - 1).unsqueeze(1)).squeeze(1);
    rows_of(of_target_T, part).add_(at::where(here_t, picked_t, 0.0));
  }
  SY_RETURN_IF_ERROR(world.all_reduce(sums_2T, ReduceOp::kSum).wait());

  const at::Tensor counted_T = targets_T.ge(0);
  const auto sum = [&](const at::Tensor& values_T) { return values_T.masked_select(counted_T).sum().item<double>(); };
  const at::Tensor logarithms_T = exponentials_T.log();
  return OwnLoss{.loss = sum(logarithms_T + largest_T - of_target_T),
                 .terms = sum(logarithms_T.abs() + largest_T.abs() + of_target_T.abs())};
}

}  // namespace switchyard
