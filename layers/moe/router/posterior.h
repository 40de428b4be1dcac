// What is believed of every expert's usefulness to every cluster of inputs: a Beta distribution over the chance that
// the expert serves a token of the cluster well. Outcomes are Bernoulli, so that the update is conjugate: counts of
// good and bad ones are added, after the old ones have faded by `forgetting`. Exploration by Thompson sampling
// (Thompson, "On the likelihood that one unknown probability exceeds another", 1933; Chapelle and Li, "An empirical
// evaluation of Thompson sampling", 2011) or by upper confidence (Auer et al., "Finite-time analysis of the multiarmed
// bandit problem", 2002, here with the posterior's standard deviation). A token's cluster is the largest of C fixed
// random projections.
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "layers/moe/router/config.h"
#include "layers/moe/router/router.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

class ExpertPosterior {
 public:
  // `name`: of the router's tensors; with the seed it decides the clusters and the draws. D: width.
  ExpertPosterior(const std::string& name, int64_t width, int64_t experts, const BayesianConfig& config, uint64_t seed);

  at::Tensor clusters(const at::Tensor& x_TD) const;  // int64 [T]
  at::Tensor mean() const;                            // fp64 [C,E]
  // What exploration takes for the chances, fp64 [C,E]: drawn, or mean + strength·deviation. Draws are keyed by (seed,
  // name, step, part, cluster·E + expert): a part acts on one belief drawn from the posterior, as Thompson sampling
  // has it, so that all tokens of a cluster see the same draw, whichever rank holds them.
  at::Tensor explore(int64_t step, int64_t part) const;

  // Notes outcomes: good_N bool, for cells cluster·E + expert. `confidence_N`: the means they were expected to have.
  void observe(const at::Tensor& cells_N, const at::Tensor& good_N, const at::Tensor& confidence_N);
  // Takes in what was noted on all ranks, or forgets it. take() is collective where `ranks` is given.
  void take(Communicator* ranks);
  void discard();
  // Expected calibration error (Guo et al., 2017; ten bins) of the outcomes taken in last; −1: there were none.
  double calibration_error() const;

  // Online, without a network around it: route() picks `count` experts for each token by exploration; predict() gives
  // the mean chance of each, [T,E]; update_weights() takes outcomes in at once: an expert's y_hat_TEO serves a token
  // well where its squared error against y_TO is below the mean over the experts. O: outputs. T may be 0.
  // update_weights() is collective where `ranks` is given: all then hold the posterior of all their outcomes.
  Choice route(const at::Tensor& x_TD, int64_t count, int64_t step) const;
  at::Tensor predict(const at::Tensor& x_TD) const;
  void update_weights(const at::Tensor& x_TD, const at::Tensor& y_TO, const at::Tensor& y_hat_TEO,
                      Communicator* ranks = nullptr);

  // `<name>.posterior` [2,C,E], counts of good and bad outcomes with the prior's; `<name>.calibration` [3,10]. fp64.
  std::vector<RouterBuffer> buffers() const;

 private:
  const std::string name_;
  const BayesianConfig config_;
  const uint64_t seed_;
  at::Tensor projection_CD_;
  at::Tensor counts_2CE_;
  at::Tensor calibration_;  // by bin: outcomes, confidences and good ones, summed
  at::Tensor noted_2CE_;
  at::Tensor noted_calibration_;
};

}  // namespace switchyard
