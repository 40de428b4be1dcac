#include "tests/layers/moe/logical_gradients.h"

#include <ATen/ATen.h>

#include "runtime/base/check.h"
#include "tests/support/part_of.h"

namespace switchyard {

void LogicalGradients::add(const ParameterList& parameters) {
  const std::lock_guard lock(mutex_);
  for (const Parameter* parameter : parameters) {
    for (const Slice& slice : parameter->slices()) {
      SY_CHECK(slice.spec.replicated == slice.spec.partial);
      const at::Tensor part = parameter->gradient_of(slice);
      at::Tensor& whole = whole_[slice.spec.name];
      if (!whole.defined()) whole = at::zeros(slice.spec.shape, part.options());
      part_of(whole, slice.spec.box).add_(part);
    }
  }
}

}  // namespace switchyard
