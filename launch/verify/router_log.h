// What routers are given and what they give, taken down by a wrapper around each while the model trains as ever.
#pragma once

#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "layers/moe/router/router.h"

namespace switchyard {

// A route() of one layer: this rank's.
struct Routed {
  at::Tensor x_tD;
  Choice choice;
  at::Tensor weights_N;  // of the slots that were sent
  RouterStatistics statistics;
};

class RouterLog {
 public:
  // To be put around every router, in the order of layers. The log outlives what it gives.
  std::unique_ptr<Router> watch(std::unique_ptr<Router> router);
  // The latest of each router, in that order.
  std::vector<Routed> latest() const;

 private:
  std::vector<std::unique_ptr<Routed>> seen_;
};

}  // namespace switchyard
