// A dispatcher with another inside: for what watches or spoils dispatch, put around it as it is built.
#pragma once

#include <memory>
#include <utility>

#include "parallel/dispatch/dispatcher.h"

namespace switchyard {

// Does what the other does, but for what a subclass overrides.
class DispatcherDecorator : public Dispatcher {
 public:
  explicit DispatcherDecorator(std::unique_ptr<Dispatcher> dispatcher) : dispatcher_(std::move(dispatcher)) {}

  std::vector<std::shared_ptr<const DispatchPlan>> plan(std::span<const Routing> chunks) override {
    return dispatcher_->plan(chunks);
  }
  Dispatched begin_dispatch(const at::Tensor& x_TD, const std::shared_ptr<const DispatchPlan>& plan) override {
    return dispatcher_->begin_dispatch(x_TD, plan);
  }
  Dispatched end_dispatch(const Dispatched& begun) override { return dispatcher_->end_dispatch(begun); }
  at::Tensor begin_combine(const at::Tensor& y_RD, const std::shared_ptr<const DispatchPlan>& plan) override {
    return dispatcher_->begin_combine(y_RD, plan);
  }
  at::Tensor end_combine(const at::Tensor& begun, const std::shared_ptr<const DispatchPlan>& plan) override {
    return dispatcher_->end_combine(begun, plan);
  }

 private:
  const std::unique_ptr<Dispatcher> dispatcher_;
};

}  // namespace switchyard
