// Tokens travel to experts and back. A dispatcher has no learnable state and knows nothing of how routing was chosen.
// make_dispatcher makes one. Read on at RowDispatcher, which implements it over a RowExchange.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

namespace switchyard {

// What a router decided for the T tokens of this rank, ragged: token t has the slots offsets[t] … offsets[t+1]−1.
struct Routing {
  at::Tensor offsets;  // int64 [T+1]
  at::Tensor experts;  // int64 [N], N = offsets[T]; in [0, E); distinct within a token
  at::Tensor weights;  // fp32 (fp64 under precision fp64) [N]; carries autograd

  // The slots of the tokens [begin, end), as views.
  Routing of_tokens(int64_t begin, int64_t end) const;
};

// Where the rows of a routing go and with which weights they come back, used by dispatch, combine and both backward
// passes, by one of them at a time.
class DispatchPlan {
 public:
  virtual ~DispatchPlan() = default;
};

struct Dispatched {
  // Rows grouped by local expert (ascending id), within one by global token index; from a hierarchical dispatcher over
  // hosts by the rank that handed them on first.
  at::Tensor rows_RD;
  std::vector<int64_t> counts;  // rows of each local expert; sums to R
  std::shared_ptr<const DispatchPlan> plan;
};

// All calls are collective over the dispatch group (the ranks of expert × expert_tensor) and autograd functions: the
// backward of dispatch is the mirror of combine, and the other way round. A rank or an expert without tokens enters all
// the same. Failures of the wire are thrown as StatusError.
//
// Each is made of a beginning, which puts rows on the wire, and an end, which waits for them; what lies between, in the
// backward too, is done meanwhile. Every beginning is ended, by the dispatcher that began it. Several may be
// open, of one plan only one. Where tokens travel in chunks, all are planned first: what ranks must know of each other,
// weights too, is exchanged once, before rows keep the wire busy.
class Dispatcher {
 public:
  virtual ~Dispatcher() = default;
  // One for each chunk; all ranks have as many.
  virtual std::vector<std::shared_ptr<const DispatchPlan>> plan(std::span<const Routing> chunks) = 0;
  // x_TD: this rank's tokens, any floating dtype. With expert_tensor > 1 every rank that shares an expert gets its
  // rows.
  Dispatched dispatch(const at::Tensor& x_TD, const std::shared_ptr<const DispatchPlan>& plan) {
    return end_dispatch(begin_dispatch(x_TD, plan));
  }
  Dispatched dispatch(const at::Tensor& x_TD, const Routing& routing) {
    return dispatch(x_TD, plan({&routing, 1}).front());
  }
  // y_RD in the order of rows_RD, which is that of all plans of the same offsets and experts → [T,D] in y's dtype: Σ
  // over slots, in slot order (and over the ranks that share an expert), of weight · row, summed in fp32 (fp64). The
  // gradient of the routing's weights is ⟨g, row⟩.
  at::Tensor combine(const at::Tensor& y_RD, const std::shared_ptr<const DispatchPlan>& plan) {
    return end_combine(begin_combine(y_RD, plan), plan);
  }

  // What it returns is for end_dispatch alone.
  virtual Dispatched begin_dispatch(const at::Tensor& x_TD, const std::shared_ptr<const DispatchPlan>& plan) = 0;
  virtual Dispatched end_dispatch(const Dispatched& begun) = 0;
  // What it returns is for end_combine alone, which takes the same plan.
  virtual at::Tensor begin_combine(const at::Tensor& y_RD, const std::shared_ptr<const DispatchPlan>& plan) = 0;
  virtual at::Tensor end_combine(const at::Tensor& begun, const std::shared_ptr<const DispatchPlan>& plan) = 0;
};

}  // namespace switchyard
