// A router decides which experts a token goes to, with which weights.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "layers/moe/token_context.h"
#include "parallel/dispatch/dispatcher.h"
#include "parallel/parameter/parameter.h"

namespace switchyard {

// Over the whole population, equal on all ranks.
struct RouterStatistics {
  // Each auxiliary loss before its coefficient; aux_loss: 1 for perfect balance, E for a single expert.
  std::map<std::string, double> losses;
  std::vector<int64_t> tokens_per_expert;  // slots by expert as chosen, before a capacity drops any
  int64_t dropped = 0;                     // slots that a capacity took away
  double entropy = 0;                      // of the router's distribution over experts, mean over tokens, nats
  std::map<std::string, double> scalars;   // what a kind reports of its own
  int not_finite = -1;                     // lowest rank of the population with a logit that is not finite; −1: none
};

// Which experts the tokens of this rank go to: offsets and experts as in Routing.
struct Choice {
  at::Tensor offsets;  // int64 [T+1]
  at::Tensor experts;  // int64 [N]
  at::Tensor kept;     // bool [N]: slots that the capacity left; undefined: all
};

// Its tensors lie beside x or, routing's excepted, on the host.
struct RouterOutput {
  Routing routing;
  // Scalar in fp32 (fp64): this rank's share of the auxiliary losses, coefficients applied, divided by the population
  // and the parts, so that the sum over ranks and parts is the step's. NaN on all ranks where a logit of any is not
  // finite, so that the step is skipped.
  at::Tensor auxiliary_loss;
  RouterStatistics statistics = {};
  int64_t rows_per_expert = 0;       // each expert's rows are to be filled up to so many; 0: not at all
  Choice choice = {};                // what replay() takes; routing without what the capacity dropped
  at::Tensor probabilities_TE = {};  // what it gave each expert, without gradients; undefined for kinds that weigh none
  // What the choice was made by, without gradients: the largest of a token's row (expert_choice: of an expert's column)
  // were taken; −∞: no candidate. Undefined where nothing was compared: by hash, dense, a replay and a forced balance.
  at::Tensor ranking_TE = {};
};

// State that is no parameter: equal on all ranks of the population, saved in checkpoints and loaded from them.
struct RouterBuffer {
  std::string name;  // global, e.g. "layers.3.moe.router.bias"
  at::Tensor value;  // contiguous; loading writes into it
};

class Router {
 public:
  virtual ~Router() = default;
  // x_tD: this rank's tokens, possibly none. Collective over the routing population (data × tensor). Failures of the
  // wire are thrown as StatusError. Logits that are not finite still route, every token to distinct experts.
  virtual RouterOutput route(const at::Tensor& x_tD, const TokenContext& context) = 0;
  virtual ParameterList parameters() = 0;
  virtual std::vector<RouterBuffer> buffers() { return {}; }

  // The next route() takes these experts instead of choosing, and so do its repetitions for the same part (recomputed
  // layers); weights and losses are as if it had chosen them. Local.
  virtual void replay(Choice choice) = 0;
  // After the optimizer's update of a step that was not skipped: moves what is no parameter. Collective over the
  // routing population.
  virtual void finish_step() {}
};

// The choice that a router was told to take.
class Replay {
 public:
  void set(Choice choice);
  // Null: the router chooses.
  const Choice* next(const TokenContext& context);

 private:
  std::optional<Choice> choice_;
  std::optional<std::pair<int64_t, int64_t>> taken_;  // step and part that took it
};

}  // namespace switchyard
