#include "launch/verify/change_count.h"

#include <ATen/ATen.h>

namespace switchyard {

at::Tensor ChangeCount::note(const at::Tensor& before, const at::Tensor& after) {
  const bool same_shape = before.sizes() == after.sizes();
  add(same_shape ? before.detach().ne(after.detach()).sum().item<int64_t>() : after.numel());
  if (before.requires_grad() && !after.requires_grad()) add(after.numel());
  return after;
}

}  // namespace switchyard
