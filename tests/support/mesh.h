// A mesh on every rank of a loopback world.
#pragma once

#include <functional>
#include <vector>

#include "parallel/topology/mesh.h"

namespace switchyard {

// Runs `body` on shape.ranks() threads, each with its own mesh, as run_ranks does. `nodes`: the host that each rank
// pretends to be on; empty: one for all. Ranks of a host share memory.
void run_mesh(const MeshShape& shape, const std::function<void(const Mesh& mesh)>& body, std::vector<int> nodes = {});

// The shape of `ranks` ranks with these axes; data and expert_data take what is left. Impossible ones are a bug.
MeshShape mesh_shape(int ranks, int tensor = 1, int expert = 1, int expert_tensor = 1);

// "data 2 tensor 2 | expert_data 1 expert 4 expert_tensor 1", for failure messages.
std::string describe(const MeshShape& shape);

}  // namespace switchyard
