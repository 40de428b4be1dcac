#include "launch/verify/router_log.h"

namespace switchyard {
namespace {

class WatchedRouter : public Router {
 public:
  WatchedRouter(std::unique_ptr<Router> router, Routed& seen) : router_(std::move(router)), seen_(seen) {}

  RouterOutput route(const at::Tensor& x_tD, const TokenContext& context) override {
    RouterOutput output = router_->route(x_tD, context);
    seen_ = {.x_tD = x_tD.detach(),
             .choice = output.choice,
             .weights_N = output.routing.weights.detach(),
             .statistics = output.statistics};
    return output;
  }
  ParameterList parameters() override { return router_->parameters(); }
  std::vector<RouterBuffer> buffers() override { return router_->buffers(); }
  void replay(Choice choice) override { router_->replay(std::move(choice)); }
  void finish_step() override { router_->finish_step(); }

 private:
  const std::unique_ptr<Router> router_;
  Routed& seen_;
};

}  // namespace

std::unique_ptr<Router> RouterLog::watch(std::unique_ptr<Router> router) {
  Routed& seen = *seen_.emplace_back(std::make_unique<Routed>());
  return std::make_unique<WatchedRouter>(std::move(router), seen);
}

std::vector<Routed> RouterLog::latest() const {
  std::vector<Routed> all;
  for (const auto& seen : seen_) all.push_back(*seen);
  return all;
}

}  // namespace switchyard
