#include "launch/verify/router_log.h"

#include <cmath>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "launch/verify/plain_router.h"
#include "layers/moe/router/router_decorator.h"
#include "runtime/base/status.h"

namespace switchyard {

class RouterLog::WatchedRouter : public RouterDecorator {
 public:
  WatchedRouter(std::unique_ptr<Router> router, Seen& seen) : RouterDecorator(std::move(router)), seen_(seen) {}

  RouterOutput route(const at::Tensor& x_tD, const TokenContext& context) override {
    RouterOutput output = RouterDecorator::route(x_tD, context);
    const Routing& routing = output.routing;
    seen_.latest = {.x_tD = x_tD.detach(),
                    .choice = output.choice,
                    .weights_N = routing.weights.detach(),
                    .statistics = output.statistics};
    if (at::GradMode::is_enabled()) watch_gradient(x_tD.detach(), routing);
    return output;
  }

 private:
  void watch_gradient(const at::Tensor& x_tD, const Routing& routing) {
    const at::Tensor squares_t = x_tD.to(at::kDouble).square().sum(1);
    seen_.terms.inputs += squares_t.sum().item<double>();
    if (!routing.weights.requires_grad()) return;
    const at::Tensor weights_N = routing.weights.detach().to(at::kDouble);
    const at::Tensor squares_N = squares_t.repeat_interleave(at::diff(routing.offsets));
    routing.weights.register_hook([this, weights_N, squares_N](const at::Tensor& gradient_N) {
      seen_.terms.weights += ((weights_N * gradient_N).square() * squares_N).sum().item<double>();
    });
  }

  Seen& seen_;
};

std::unique_ptr<Router> RouterLog::watch(std::unique_ptr<Router> router) {
  Seen& seen = *seen_.emplace_back(std::make_unique<Seen>());
  return std::make_unique<WatchedRouter>(std::move(router), seen);
}

std::vector<Routed> RouterLog::latest() const {
  std::vector<Routed> all;
  for (const auto& seen : seen_) all.push_back(seen->latest);
  return all;
}

std::vector<RouterTerms> RouterLog::take_terms() {
  std::vector<RouterTerms> all;
  for (const auto& seen : seen_) all.push_back(std::exchange(seen->terms, {}));
  return all;
}

absl::StatusOr<std::map<std::string, double>> gradient_scales(Communicator& world, const std::vector<RouterTerms>& own,
                                                              const RunConfig& config) {
  at::Tensor sums_L2 = at::zeros({static_cast<int64_t>(own.size()), 2}, at::kDouble);
  for (size_t i = 0; i < own.size(); ++i) {
    sums_L2[i][0] = own[i].weights;
    sums_L2[i][1] = own[i].inputs;
  }
  SY_RETURN_IF_ERROR(world.all_reduce(sums_L2, ReduceOp::kSum).wait());
  const double share = loss_coefficients(config.model.moe.router) /
                       static_cast<double>(config.train.global_batch * config.data.sequence);
  std::map<std::string, double> terms;
  int64_t i = 0;
  for (int64_t layer = 0; layer < config.model.layers; ++layer) {
    if (!config.model.is_moe_layer(layer)) continue;
    const double weights = sums_L2[i][0].item<double>(), inputs = sums_L2[i++][1].item<double>();
    terms[absl::StrCat("layers.", layer, ".moe.router")] = std::sqrt(weights + share * share * inputs);
  }
  return terms;
}

}  // namespace switchyard
