// The part of a whole tensor that a box stands for.
#pragma once

#include <ATen/ATen.h>

#include "parallel/topology/box.h"

namespace switchyard {

// A view.
inline at::Tensor part_of(const at::Tensor& whole, const Box& box) {
  at::Tensor part = whole;
  for (size_t d = 0; d < box.extent.size(); ++d) {
    part = part.narrow(static_cast<int64_t>(d), box.offset[d], box.extent[d]);
  }
  return part;
}

}  // namespace switchyard
