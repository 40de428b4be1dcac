// A mixture-of-experts layer: route → dispatch → experts → combine, and beside them the experts that every token goes
// to, which are computed while tokens travel. In several chunks of tokens, some travel while experts compute others
// (Tutel, FasterMoE): the same sums in another order, over fewer rows at a time.
#pragma once

#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "layers/feed_forward/feed_forward.h"
#include "layers/moe/experts.h"
#include "layers/moe/router/router.h"
#include "layers/moe/token_context.h"
#include "parallel/dispatch/dispatcher.h"
#include "parallel/parameter/parameter.h"

namespace switchyard {

struct MoeOutput {
  at::Tensor y_tD;
  at::Tensor auxiliary_loss;  // as RouterOutput's
};

class MoeLayer {
 public:
  // `experts`: other layers may have them too. `shared` null: no shared experts. Its width is that of all shared
  // experts together: what they give is added up, and weighed by the sigmoid of shared_gate_1D · x where there is one
  // (Qwen2-MoE). `mesh` says in how many chunks tokens travel; more than one do not go with a router that pads.
  MoeLayer(std::unique_ptr<Router> router, std::unique_ptr<Dispatcher> dispatcher, std::shared_ptr<Experts> experts,
           std::unique_ptr<FeedForward> shared, std::unique_ptr<Parameter> shared_gate_1D, const Mesh& mesh);

  // x_tD: this rank's tokens, possibly none. Collective over the ranks of the routing population and of the dispatch
  // group. Failures of the wire are thrown as StatusError.
  MoeOutput forward(const at::Tensor& x_tD, const TokenContext& context);
  // What every expert gives for each of this rank's tokens, whatever the router would choose: [E,t,D] of `experts`
  // experts, without gradients. Collective over the dispatch group.
  at::Tensor outputs_of_all(const at::Tensor& x_tD, int64_t experts);
  ParameterList parameters();
  Router& router() { return *router_; }
  // Of the latest forward.
  const RouterStatistics& statistics() const { return statistics_; }
  const Choice& choice() const { return choice_; }

 private:
  // Some of the tokens on their way.
  struct Chunk {
    at::Tensor x_tD;
    std::shared_ptr<const DispatchPlan> plan;
    Dispatched sent;
    at::Tensor returning;
  };
  std::vector<Chunk> plan_chunks(const at::Tensor& x_tD, const Routing& routing, int count) const;
  void begin_dispatch(Chunk& chunk);
  Experts::Chunks begin_chunks(std::vector<Chunk>& chunks);
  // Ends the dispatch, and begins to combine.
  void compute(Chunk& chunk, int64_t rows_per_expert, const Experts::Chunks& together);
  at::Tensor end_combine(const Chunk& chunk);
  at::Tensor through_shared(const at::Tensor& x_tD, const TokenContext& context);

  std::unique_ptr<Router> router_;
  std::unique_ptr<Dispatcher> dispatcher_;
  std::shared_ptr<Experts> experts_;
  std::unique_ptr<FeedForward> shared_;
  std::unique_ptr<Parameter> shared_gate_;
  const Mesh& mesh_;
  RouterStatistics statistics_;
  Choice choice_;
};

}  // namespace switchyard
