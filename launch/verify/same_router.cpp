#include "launch/verify/same_router.h"

#include <ATen/ATen.h>

#include "layers/moe/router/make_router.h"

namespace switchyard {
namespace {

class SameRouter : public PlainRouter {
 public:
  SameRouter(const std::string& name, int64_t width, const MoeConfig& config, const BuildContext& context,
             PlainParameters& parameters)
      : router_(make_router(name, width, config, context)), chooser_(make_router(name, width, config, context)) {
    parameters.adopt(router_->parameters());
  }

  // By a second object, so that what routers count while they route is not counted twice.
  Choice choose(const at::Tensor& x_TD, const TokenContext& context) override {
    const at::NoGradGuard no_grad;
    const ParameterList from = router_->parameters(), to = chooser_->parameters();
    for (size_t i = 0; i < from.size(); ++i) to[i]->value().detach().copy_(from[i]->value());
    const std::vector<RouterBuffer> state = router_->buffers(), copy = chooser_->buffers();
    for (size_t i = 0; i < state.size(); ++i) at::Tensor(copy[i].value).copy_(state[i].value);
    return chooser_->route(x_TD, context).choice;
  }

  RouterOutput route(const at::Tensor& x_TD, const TokenContext& context, const Choice& choice) override {
    router_->replay(choice);
    return router_->route(x_TD, context);
  }

  void finish_step() override { router_->finish_step(); }
  std::vector<RouterBuffer> buffers() override { return router_->buffers(); }

 private:
  const std::unique_ptr<Router> router_, chooser_;
};

}  // namespace

std::unique_ptr<PlainRouter> make_same_router(const std::string& name, int64_t width, const MoeConfig& config,
                                              const BuildContext& context, PlainParameters& parameters) {
  return std::make_unique<SameRouter>(name, width, config, context, parameters);
}

}  // namespace switchyard
