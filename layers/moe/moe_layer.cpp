#include "layers/moe/moe_layer.h"

#include <ATen/ATen.h>

#include "runtime/base/check.h"

namespace switchyard {

MoeLayer::MoeLayer(std::unique_ptr<Router> router, std::unique_ptr<Dispatcher> dispatcher,
                   std::unique_ptr<Experts> experts, std::unique_ptr<FeedForward> shared)
    : router_(std::move(router)),
      dispatcher_(std::move(dispatcher)),
      experts_(std::move(experts)),
      shared_(std::move(shared)) {}

MoeOutput MoeLayer::forward(const at::Tensor& x_tD, const TokenContext& context) {
  RouterOutput routed = router_->route(x_tD, context);
  statistics_ = std::move(routed.statistics);
  choice_ = std::move(routed.choice);
  const Dispatched sent = dispatcher_->dispatch(x_tD, routed.routing);
  const at::Tensor y_RD = experts_->forward(sent.rows_RD, sent.counts);
  at::Tensor y_tD = dispatcher_->combine(y_RD, routed.routing.weights, sent.plan);
  if (shared_) {
    SY_CHECK_LE(x_tD.size(0), context.data_rank_tokens);
    y_tD = y_tD + shared_->forward(x_tD, context.data_rank_tokens);
  }
  return {y_tD, routed.auxiliary_loss};
}

ParameterList MoeLayer::parameters() {
  ParameterList list = router_->parameters();
  const auto append = [&list](const ParameterList& more) { list.insert(list.end(), more.begin(), more.end()); };
  append(experts_->parameters());
  if (shared_) append(shared_->parameters());
  return list;
}

}  // namespace switchyard
