// What a module's constructor is given beside its own config.
#pragma once

#include <cstdint>

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>
#include <c10/core/TensorOptions.h>

#include "parallel/topology/mesh.h"

namespace switchyard {

struct BuildContext {
  const Mesh& mesh;
  at::ScalarType dtype;        // of activations and weights: bf16, fp32 or fp64
  double init_scale;           // standard deviation of weights
  double residual_init_scale;  // of the projections that write into the residual stream
  uint64_t seed = 0;           // of what is drawn beside the weights
  c10::Device device = c10::kCPU;
  bool recompute_activations = false;  // feed-forward layers and experts keep their inputs alone for backward

  at::TensorOptions options() const { return at::TensorOptions(dtype).device(device); }
};

}  // namespace switchyard
