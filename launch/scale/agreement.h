// Whether runs that must compute the same did.
//
// Strong scaling trains one model on the same batches in several layouts. The model at the start and the first batch
// are equal bit for bit, so the first step's loss and gradient norm may differ by roundings alone. From then on
// AdamW makes more of them: an element's update is about ±rate, and where the gradient is smaller than its rounding the
// sign, too, is rounding's. With ε the gradient's relative error such elements are about a share ε of all, so two runs
// move apart by rate · √ε an element and step, in directions that have nothing to do with the next batch's gradient g,
// whose loss they change by about |g| · rate · √ε. The bound of step s is
//   λ · √2 · L · √(ε_f²/T + T·u²)  +  Σ over steps before s of λ · |g| · rate · √ε
// with L the loss, T its tokens, ε_f the error of a token's logits (launch/verify/bounds.h, as ε), u the round-off of
// the sum over tokens, √2 since both sides round, and λ such that fewer than one of all the comparisons is to be
// expected beyond. That errors of the weights grow by themselves is not in it: it holds for tens of steps.
//
// Weak scaling gives every number of ranks batches of its own, so the losses of different ranks cannot agree. What
// must: the loss of the first step on R ranks is what the layout with the fewest ranks makes of the same R-fold batch
// from the same model. A reference run does that one step, in as many parts as the batch is larger, so that it needs no
// more memory; but for routers that look at a whole part, whose step stays in one. (The gradient's norm is not held to
// it: balance losses are a part's.)
//
// In both modes runs that are repeated in the same layout give the same losses to the bit (within the bounds where each
// run chooses its dispatcher or chunks by trial), and all losses are finite.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/scale/figures.h"
#include "launch/scale/plan.h"

namespace switchyard {

struct MeasuredRun {
  PlannedRun plan;
  RunFigures figures;
};

// The worst of the comparisons of a run with another: the one with the largest deviation over its bound.
struct LossCheck {
  std::string what;  // "loss", "gradient norm"
  std::string run, reference;
  int64_t step = 1;
  double deviation = 0, bound = 0;
  bool holds() const { return deviation <= bound; }  // not for what is no number
};

// In the order of `runs`, which are planned by plan_runs; some may be missing.
std::vector<LossCheck> check_losses(const std::vector<MeasuredRun>& runs, const std::string& mode);

}  // namespace switchyard
