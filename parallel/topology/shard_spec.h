// The single source of truth about a logical tensor on this rank. Initialisation, gradient reduction, norms, optimizer
// sharding and checkpoints derive from it and from nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/topology/box.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

struct ShardSpec {
  std::string name;            // global, e.g. "layers.3.moe.experts.17.down"
  std::vector<int64_t> shape;  // of the logical tensor
  Box box;                     // what this rank holds
  AxisSet replicated;          // ranks along these axes hold an equal box
  AxisSet partial;             // subset of replicated: a rank's gradient is only its part of the sum over them
};

}  // namespace switchyard
