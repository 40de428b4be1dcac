#include "layers/moe/router/make_router.h"

#include "layers/moe/router/softmax_router.h"
#include "runtime/base/check.h"

namespace switchyard {

std::unique_ptr<Router> make_router(const std::string& name, int64_t width, const MoeConfig& config,
                                    const BuildContext& context) {
  SY_CHECK_EQ(config.router.kind, "softmax");
  return std::make_unique<SoftmaxRouter>(name, width, config, context);
}

}  // namespace switchyard
