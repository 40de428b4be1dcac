// A config of the same shape in small.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "launch/config/run_config.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

struct Shrunk {
  RunConfig config;
  int64_t vocabulary;
  std::string changes;  // "model.width 4096 → 64, …", for people
};

// Cuts widths, layers, vocabulary, sequence and batch so that a step takes seconds at most. What a layout's arithmetic
// depends on stays: heads, key and value heads, experts, experts a token, shared experts, the pattern of dense layers,
// whether there are several accumulation parts, whether layers share experts, a slot or two of each expert where a
// capacity limits them, and by how much a cut size fails to divide by the ranks that share it. Initial weights grow as
// widths fall, so that activations keep their size. kBadConfig where the result is no config that a run would take.
absl::StatusOr<Shrunk> shrink(RunConfig config, int64_t vocabulary, const MeshShape& shape);

}  // namespace switchyard
