// A box of a logical tensor together with its data: what is written to a checkpoint and filled from one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/topology/box.h"

namespace switchyard {

struct TensorPart {
  std::string name;  // of the logical tensor
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;  // of the logical tensor
  Box box;
  at::Tensor data;  // contiguous, `dtype`, shape box.extent, any device; may be undefined where the box is empty
};

// A bug unless the part is what its fields say.
void check_part(const TensorPart& part);

}  // namespace switchyard
