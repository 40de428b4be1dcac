// What routers are given and what they give, taken down by a wrapper around each while the model trains as ever.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <absl/status/statusor.h>

#include "launch/config/run_config.h"
#include "layers/moe/router/router.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// A route() of one layer: this rank's.
struct Routed {
  at::Tensor x_tD;
  Choice choice;
  at::Tensor weights_N;  // of the slots that were sent
  RouterStatistics statistics;
};

// What a router's gradient is the sum of, in squares: it may be little more than what is left where they cancel (of one
// expert a token, whose weight is 1 whatever the logits, it is nothing but rounding).
struct RouterTerms {
  double weights = 0;  // Σ over slots of (weight · its gradient)² · ‖x‖²
  double inputs = 0;   // Σ over tokens of ‖x‖²
};

class RouterLog {
 public:
  // To be put around every router, in the order of layers. The log outlives what it gives.
  std::unique_ptr<Router> watch(std::unique_ptr<Router> router);
  // The latest of each router, in that order.
  std::vector<Routed> latest() const;
  // Of what was differentiated since the last call: this rank's, in that order.
  std::vector<RouterTerms> take_terms();

 private:
  struct Seen {
    Routed latest;
    RouterTerms terms;
  };
  class WatchedRouter;

  std::vector<std::unique_ptr<Seen>> seen_;
};

// The norm of what each router's gradient is the sum of, by the beginning of its parameters' names. Losses are means,
// so that their coefficients are shared by all tokens. Collective over `world`. Errors: kCommunication.
absl::StatusOr<std::map<std::string, double>> gradient_scales(Communicator& world, const std::vector<RouterTerms>& own,
                                                              const RunConfig& config);

}  // namespace switchyard
