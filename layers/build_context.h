// What a module's constructor is given beside its own config.
#pragma once

#include <c10/core/ScalarType.h>

#include "parallel/topology/mesh.h"

namespace switchyard {

struct BuildContext {
  const Mesh& mesh;
  at::ScalarType dtype;        // of activations and weights: bf16, fp32 or fp64
  double init_scale;           // standard deviation of weights
  double residual_init_scale;  // of the projections that write into the residual stream
};

}  // namespace switchyard
