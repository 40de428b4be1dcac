#include "tests/support/mesh.h"

#include <absl/strings/str_cat.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "tests/support/ranks.h"

namespace switchyard {

void run_mesh(const MeshShape& shape, const std::function<void(Mesh& mesh)>& body, std::vector<int> nodes,
              const Connect& connect) {
  const auto with_mesh = [&](Communicator& threads) {
    const std::unique_ptr<Communicator> connected = connect ? connect(threads) : nullptr;
    const std::unique_ptr<Mesh> mesh = value_or_throw(Mesh::create(connected ? *connected : threads, shape));
    if (!connected) throw_if_error(mesh->share_memory());
    body(*mesh);
    throw_if_error(threads.barrier().wait());  // none leaves while others still need it
  };
  run_ranks(shape.ranks(), with_mesh, {.timeout = absl::Minutes(2), .nodes = std::move(nodes)});
}

MeshShape mesh_shape(int ranks, int tensor, int expert, int expert_tensor) {
  return value_or_throw(
      resolve_mesh({.tensor = tensor, .expert = expert, .expert_tensor = expert_tensor}, ranks, tensor, tensor));
}

std::string describe(const MeshShape& shape) {
  return absl::StrCat("data ", shape.data, " tensor ", shape.tensor, " | expert_data ", shape.expert_data, " expert ",
                      shape.expert, " expert_tensor ", shape.expert_tensor);
}

}  // namespace switchyard
