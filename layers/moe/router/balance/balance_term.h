// One of the losses that keep experts in use; a router has any number of them, each with its coefficient.
#pragma once

#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include "layers/moe/router/population.h"
#include "layers/moe/router/router.h"
#include "layers/moe/token_context.h"

namespace switchyard {

// This rank's tokens on their way through a router, on the host, but for x.
struct Scored {
  const TokenContext& context;
  at::Tensor x_TD;              // where the model is
  at::Tensor logits_TE;         // fp32 (fp64), carries autograd; undefined for kinds without a gate
  at::Tensor second_TE;         // logits of the rule's second gate, likewise; undefined where it has none
  at::Tensor log_sums_T;        // of each token, log Σ exp of its logits; as these
  at::Tensor scores_TE;         // what weights are taken from, carries autograd
  at::Tensor probabilities_TE;  // rows add up to 1; what balance and entropy look at; undefined without a gate
  at::Tensor spread_TE;         // standard deviation of the noise in the scores; undefined where there is none
  at::Tensor ranking_TE;        // as RouterOutput's, but may carry autograd
  at::Tensor best_TK;  // beside spread_TE: the K + 1 experts (at most all) with the largest scores, by falling score
};

class BalanceTerm {
 public:
  BalanceTerm(std::string name, double coefficient) : name_(std::move(name)), coefficient_(coefficient) {}
  virtual ~BalanceTerm() = default;
  const std::string& name() const { return name_; }
  double coefficient() const { return coefficient_; }

  // Adds what the loss is computed from, under names that begin with the term's. `choice`: before a capacity.
  virtual void add(const Scored& scored, const Choice& choice, const at::Tensor& weights_N, PopulationSums& sums) = 0;
  // The loss of the whole population before its coefficient, a scalar. sums["slots"] is there: [E], of the choice.
  virtual at::Tensor loss(const Scored& scored, const PopulationSums& sums) = 0;
  // What else is worth reporting.
  virtual void report(const PopulationSums& /*sums*/, std::map<std::string, double>& /*scalars*/) {}

 private:
  const std::string name_;
  const double coefficient_;
};

}  // namespace switchyard
