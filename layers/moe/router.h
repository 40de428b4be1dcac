// A router decides which experts a token goes to, with which weights.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "layers/moe/token_context.h"
#include "parallel/dispatch/dispatcher.h"
#include "parallel/parameter/parameter.h"

namespace switchyard {

// Over the whole population, equal on all ranks.
struct RouterStatistics {
  double aux_loss = 0;  // before its coefficient: 1 for perfect balance, E for a single expert
  double z_loss = 0;    // before its coefficient
  std::vector<int64_t> tokens_per_expert;
};

struct RouterOutput {
  Routing routing;
  // Scalar in fp32 (fp64): this rank's share of the auxiliary losses, coefficients applied, divided by the population
  // and the parts, so that the sum over ranks and parts is the step's.
  at::Tensor auxiliary_loss;
  RouterStatistics statistics;
};

class Router {
 public:
  virtual ~Router() = default;
  // x_tD: this rank's tokens, possibly none. Collective over the routing population (data × tensor). Failures of the
  // wire are thrown as StatusError.
  virtual RouterOutput route(const at::Tensor& x_tD, const TokenContext& context) = 0;
  virtual ParameterList parameters() = 0;
};

}  // namespace switchyard
