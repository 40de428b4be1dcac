// A router put together from parts: gate → rule (choice and weights) → balance losses → capacity. On a device the
// gate's products run there; its logits come to the host, where all that follows is computed, and slots and weights go
// back: the host waits for them in each layer.
#pragma once

#include <memory>
#include <vector>

#include "layers/moe/router/capacity.h"
#include "layers/moe/router/gate_network.h"
#include "layers/moe/router/rule.h"

namespace switchyard {

class ComposedRouter : public Router {
 public:
  // `gate` null: the kind needs no logits; `capacity` null: dropless. `force_balance`: for measuring, slot j of token t
  // goes to expert (t·K + j) mod E, whatever the rule would choose. `population` outlives the router.
  struct Parts {
    std::unique_ptr<GateNetwork> gate;
    std::unique_ptr<RoutingRule> rule;
    std::vector<std::unique_ptr<BalanceTerm>> terms;
    std::unique_ptr<Capacity> capacity;
    int64_t experts = 0;
    int64_t experts_per_token = 0;
    bool force_balance = false;
  };
  ComposedRouter(Parts parts, Communicator& population);

  RouterOutput route(const at::Tensor& x_tD, const TokenContext& context) override;
  ParameterList parameters() override;
  std::vector<RouterBuffer> buffers() override { return parts_.rule->buffers(); }
  void replay(Choice choice) override { replay_.set(std::move(choice)); }
  void finish_step() override { parts_.rule->finish_step(); }

 private:
  Choice choose(Scored& scored);
  // The population's sums for statistics and losses.
  PopulationSums add_up(const Scored& scored, const Choice& choice, const at::Tensor& weights_N);
  at::Tensor losses(const Scored& scored, const PopulationSums& sums, RouterStatistics& statistics);

  Parts parts_;
  Communicator& population_;
  Replay replay_;
};

// K experts a token, every expert as often as any other: as force_balance has it.
Choice balanced_choice(int64_t tokens, int64_t experts, int64_t experts_per_token, const TokenContext& context);

}  // namespace switchyard
