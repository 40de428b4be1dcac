// The dispatcher of a rank that holds all experts whole: rows are permuted, nothing travels.
#pragma once

#include "parallel/dispatch/dispatcher.h"

namespace switchyard {

class LocalDispatcher : public Dispatcher {
 public:
  explicit LocalDispatcher(int64_t experts) : experts_(experts) {}

  Dispatched dispatch(const at::Tensor& x_TD, const Routing& routing) override;
  at::Tensor combine(const at::Tensor& y_RD, const at::Tensor& weights_N,
                     const std::shared_ptr<const DispatchPlan>& plan) override;

 private:
  int64_t experts_;
};

}  // namespace switchyard
