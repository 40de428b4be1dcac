#include "launch/verify/gather_rows.h"

#include <vector>

#include <ATen/ATen.h>

#include "runtime/base/status.h"

namespace switchyard {

absl::StatusOr<at::Tensor> gather_rows_of_all(Communicator& world, const at::Tensor& mine) {
  const at::Tensor sizes = at::empty({world.size()}, at::kLong);
  SY_RETURN_IF_ERROR(
      world.all_gather(at::tensor({mine.size(0)}, at::kLong), sizes, std::vector<int64_t>(world.size(), 1)).wait());
  const std::vector<int64_t> rows(sizes.const_data_ptr<int64_t>(), sizes.const_data_ptr<int64_t>() + world.size());
  std::vector<int64_t> shape = mine.sizes().vec();
  shape[0] = sizes.sum().item<int64_t>();
  at::Tensor all = at::empty(shape, mine.options());
  SY_RETURN_IF_ERROR(world.all_gather(mine.contiguous(), all, rows).wait());
  return all;
}

absl::StatusOr<Choice> gather_choice(Communicator& world, const Choice& mine) {
  Choice all;
  SY_ASSIGN_OR_RETURN(const at::Tensor counts, gather_rows_of_all(world, at::diff(mine.offsets)));
  all.offsets = at::cat({at::zeros({1}, at::kLong), counts.cumsum(0)});
  SY_ASSIGN_OR_RETURN(all.experts, gather_rows_of_all(world, mine.experts));
  if (mine.kept.defined()) {
    SY_ASSIGN_OR_RETURN(const at::Tensor kept, gather_rows_of_all(world, mine.kept.to(at::kByte)));
    all.kept = kept.to(at::kBool);
  }
  return all;
}

absl::StatusOr<Routed> gather_routed(Communicator& world, const Routed& mine) {
  Routed all;
  SY_ASSIGN_OR_RETURN(all.x_tD, gather_rows_of_all(world, mine.x_tD));
  SY_ASSIGN_OR_RETURN(all.choice, gather_choice(world, mine.choice));
  SY_ASSIGN_OR_RETURN(all.weights_N, gather_rows_of_all(world, mine.weights_N));
  all.statistics = mine.statistics;
  return all;
}

}  // namespace switchyard
