// A mesh on every rank of a loopback world.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "parallel/topology/mesh.h"

namespace switchyard {

using Connect = std::function<std::unique_ptr<Communicator>(Communicator& world)>;

// Runs `body` on shape.ranks() threads, each with its own mesh, as run_ranks does. `nodes`: the host that each rank
// pretends to be on; empty: one for all. Ranks of a host share memory, but not where the mesh stands on what `connect`
// makes of the world of threads.
void run_mesh(const MeshShape& shape, const std::function<void(Mesh& mesh)>& body, std::vector<int> nodes = {},
              const Connect& connect = {});

// The shape of `ranks` ranks with these axes; data and expert_data take what is left. Impossible ones are a bug.
MeshShape mesh_shape(int ranks, int tensor = 1, int expert = 1, int expert_tensor = 1);

// "data 2 tensor 2 | expert_data 1 expert 4 expert_tensor 1", for failure messages.
std::string describe(const MeshShape& shape);

}  // namespace switchyard
