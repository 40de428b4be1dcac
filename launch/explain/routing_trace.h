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

// Of one MoE layer; T tokens, N slots, E experts. Token t's slots are offsets[t] … offsets[t+1]−1, first choice first
// where tokens choose.
struct LayerTrace {
  int64_t layer = 0;  // of the decoder, from 0
  int64_t experts = 0;
  bool experts_choose = false;  // each expert takes tokens, instead of each token experts
  std::vector<int64_t> offsets = {0};
  std::vector<int64_t> chosen = {};        // [N] experts
  std::vector<bool> kept = {};             // [N] false: a capacity dropped the slot
  std::vector<double> weights = {};        // [N] what the expert's output was multiplied by; 0: dropped
  std::vector<double> probabilities = {};  // [N] of the expert among all for the token; NaN: the kind gives none
  std::vector<double> scores = {};         // [N] what the slot was chosen by (RouterOutput::ranking_TE); NaN: by none
  // [N] the slot's score less the best that was passed over: of the token's other experts, or where experts choose, of
  // the expert's other tokens of the part. NaN: there was none.
  std::vector<double> margins = {};
  double entropy = 0;  // of the router's distribution over experts, mean over tokens, nats; NaN: it has none
  std::vector<std::vector<double>> similarity = {};  // [E][E] mean cosine of two experts' outputs for the same tokens
};

// Stands around every router of a model (Decorators::router) and keeps what passes.
class RoutingRecorder {
 public:
  std::unique_ptr<Router> decorate(std::unique_ptr<Router> router);

  // After a forward through the decorated routers: appends its tokens to `traces`, one for each router in the order of
  // decoration, whose `experts` and `experts_choose` are set. Traces grow on rank 0 alone. Collective over `world`, in
  // whose rank order tokens lie.
  absl::Status append(Communicator& world, std::vector<LayerTrace>& traces);
  // Fills in the similarity of the experts of `moe`, the `index`-th layer of the traces, from the first tokens of each
  // rank in the latest forward. Collective over `world`; all ranks get it.
  absl::Status compare_experts(size_t index, MoeLayer& moe, Communicator& world, LayerTrace& trace);

 private:
  struct Pass {
    at::Tensor x_tD;
    RouterOutput output;
  };
  friend class RecordingRouter;
  std::vector<std::unique_ptr<Pass>> passes_;  // by MoE layer
  int64_t parts_ = 0;
};

}  // namespace switchyard
