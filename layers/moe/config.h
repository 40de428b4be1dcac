// The `model.moe:` section.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/status.h>

#include "layers/moe/router/config.h"
#include "runtime/base/status.h"

namespace switchyard {

struct MoeConfig {
  int64_t every = 1;
  int64_t first_dense = 0;
  int64_t experts = 16;
  int64_t experts_per_token = 4;
  int64_t expert_width = 512;
  std::string activation = "swiglu";
  int64_t shared_experts = 0;
  bool shared_gate = false;
  std::string share = "none";
  int64_t share_layers = 1;
  RouterConfig router;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("every", every, "one layer in this many is a mixture of experts, the others are dense").at_least(1);
    v("first_dense", first_dense, "leading layers that are dense").at_least(0);
    v("experts", experts, "experts a layer; 0: all layers are dense").at_least(0);
    v("experts_per_token", experts_per_token, "experts that each token goes to").at_least(1);
    v("expert_width", expert_width, "hidden width of an expert").at_least(1);
    v("activation", activation, "of the experts, between up and down").one_of({"swiglu", "gelu", "relu"});
    v("shared_experts", shared_experts, "experts that every token goes to beside the routed ones").at_least(0);
    v("shared_gate", shared_gate, "weigh what the shared experts give by a sigmoid of the token");
    v("share", share, "matrices that all experts of a layer have in common: up (with SwiGLU's gate), or down")
        .one_of({"none", "up", "down"});
    v("share_layers", share_layers, "mixture layers, one after another, that have the same experts").at_least(1);
    v.section("router", router, "the choice of experts");
  }

  absl::Status validate() const {
    if (experts == 0) return absl::OkStatus();
    if (shared_gate && shared_experts == 0) {
      return error(ErrorCategory::kBadConfig, "shared_gate needs shared_experts to weigh");
    }
    return router.validate_for(experts, experts_per_token);
  }
};

}  // namespace switchyard
