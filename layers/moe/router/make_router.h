// The router that a config asks for.
#pragma once

#include <memory>
#include <string>

#include "layers/build_context.h"
#include "layers/moe/config.h"
#include "layers/moe/router/router.h"

namespace switchyard {

// `name`: of the layer's MoE, e.g. "layers.3.moe"; the router's logical tensors are name.router and name.router.*.
// `width`: D. The config has been validated. Local.
std::unique_ptr<Router> make_router(const std::string& name, int64_t width, const MoeConfig& config,
                                    const BuildContext& context);

// The same from separate parts, also where make_router() takes one fused kernel.
std::unique_ptr<Router> compose_router(const std::string& name, int64_t width, const MoeConfig& config,
                                       const BuildContext& context);

// Whether SoftmaxRouter does all that is asked for.
bool has_fused_kernel(const RouterConfig& config);

}  // namespace switchyard
