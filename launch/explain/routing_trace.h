// What the routers of a model decided for a row of tokens, and why, gathered on rank 0.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <absl/status/status.h>

#include "layers/moe/moe_layer.h"
#include "layers/moe/router/router.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// Of one MoE layer; T tokens, E experts. Token t went to chosen[offsets[t]] … chosen[offsets[t+1]−1], first choice
// first.
struct LayerTrace {
  int64_t layer = 0;  // of the decoder, from 0
  int64_t experts = 0;
  std::vector<int64_t> offsets = {0};
  std::vector<int64_t> chosen = {};
  std::vector<double> weights = {};        // what the expert's output was multiplied by
  std::vector<double> probabilities = {};  // what the router gave the expert (its score, where it is no distribution)
  std::vector<double> margins = {};  // [T] the least chosen probability less the largest not chosen; NaN: none is left
  double entropy = 0;                // of the router's distribution over experts, mean over tokens, nats
  std::vector<std::vector<double>> similarity = {};  // [E][E] mean cosine of two experts' outputs for the same tokens
};

// Stands around every router of a model (Decorators::router) and keeps what passes.
class RoutingRecorder {
 public:
  std::unique_ptr<Router> decorate(std::unique_ptr<Router> router);

  // After a forward through the decorated routers: appends its tokens to `traces`, one for each router in the order of
  // decoration, whose `experts` are set. Traces grow on rank 0 alone. Collective over `world`, in whose rank order
  // tokens lie.
  absl::Status append(Communicator& world, std::vector<LayerTrace>& traces);
  // Fills in the similarity of the experts of `moe`, the `index`-th layer of the traces, from the first tokens of each
  // rank in the latest forward. Collective over `world`; all ranks get it.
  absl::Status compare_experts(size_t index, MoeLayer& moe, Communicator& world, LayerTrace& trace);

 private:
  struct Pass {
    at::Tensor x_tD;
    Routing routing;
    at::Tensor probabilities_TE;
    double entropy = 0;
  };
  friend class RecordingRouter;
  std::vector<std::unique_ptr<Pass>> passes_;  // by MoE layer
  int64_t parts_ = 0;
};

}  // namespace switchyard
