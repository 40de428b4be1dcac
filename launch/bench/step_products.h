// The matrix products of a training step, as flops_per_token (launch/train/flops.h) counts them.
#pragma once

#include <cstdint>
#include <vector>

#include "launch/bench/products_floor.h"
#include "launch/config/run_config.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

// Products that a step has so many times over, in other tensors.
struct RepeatedProducts {
  std::vector<WeightProduct> products;
  int64_t times;
};

// Those of this rank: its share of the tokens and of each weight; routed rows are spread evenly over the experts. Their
// FLOPs, summed over the ranks, are the model's. Local.
std::vector<RepeatedProducts> step_products(const RunConfig& config, int64_t vocabulary, const Mesh& mesh);

}  // namespace switchyard
