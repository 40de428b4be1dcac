#include "tests/layers/moe/make_layer.h"

#include <utility>

#include "layers/moe/router/gate_network.h"
#include "layers/moe/router/make_router.h"
#include "parallel/dispatch/all_to_all.h"

namespace switchyard {

std::unique_ptr<MoeLayer> make_layer(const MoeConfig& config, const Mesh& mesh) {
  const BuildContext context{.mesh = mesh, .dtype = at::kDouble, .init_scale = 0.3, .residual_init_scale = 0.3};
  const Activation activation = activation_from_name(config.activation);
  const Placement placement = Placement::contiguous(config.experts, mesh.size(Axis::kExpert));
  std::unique_ptr<FeedForward> shared;
  if (config.shared_experts > 0) {
    shared = std::make_unique<FeedForward>("moe.shared", kWidth, config.shared_experts * config.expert_width,
                                           activation, context);
  }
  std::unique_ptr<Parameter> shared_gate;
  if (config.shared_gate) {
    shared_gate = make_router_parameter("moe.shared_gate", {1, kWidth}, Initialisation::kNormal, 0.3, context);
  }
  Communicator& group = mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch);
  return std::make_unique<MoeLayer>(
      make_router("moe", kWidth, config, context),
      std::make_unique<AllToAllDispatcher>(group, placement, mesh.size(Axis::kExpertTensor), mesh.node_group(),
                                           mesh.shared_memory()),
      std::make_unique<Experts>("moe", kWidth, config.expert_width, activation, placement, context,
                                expert_sharing_from_name(config.share)),
      std::move(shared), std::move(shared_gate), mesh);
}

}  // namespace switchyard
