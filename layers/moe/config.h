// The `model.moe:` section.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>

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
    v.section("router", router, "the choice of experts");
  }

  absl::Status validate() const {
    if (experts > 0 && experts_per_token > experts) {
      return error(ErrorCategory::kBadConfig,
                   absl::StrCat("experts_per_token=", experts_per_token, " is more than experts=", experts,
                                "; use at most ", experts));
    }
    return absl::OkStatus();
  }
};

}  // namespace switchyard
