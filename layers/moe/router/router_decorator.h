// A router with another inside: for what watches, replays or spoils routing, put around it as it is built.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "layers/moe/router/router.h"

namespace switchyard {

// Does what the other does, but for what a subclass overrides.
class RouterDecorator : public Router {
 public:
  explicit RouterDecorator(std::unique_ptr<Router> router) : router_(std::move(router)) {}

  RouterOutput route(const at::Tensor& x_tD, const TokenContext& context) override {
    return router_->route(x_tD, context);
  }
  ParameterList parameters() override { return router_->parameters(); }
  std::vector<RouterBuffer> buffers() override { return router_->buffers(); }
  void replay(Choice choice) override { router_->replay(std::move(choice)); }
  void finish_step() override { router_->finish_step(); }

 private:
  const std::unique_ptr<Router> router_;
};

}  // namespace switchyard
