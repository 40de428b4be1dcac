// Balance without a loss (Wang et al., "Auxiliary-loss-free load balancing strategy for mixture-of-experts", 2024;
// DeepSeek-V3): each expert has a bias that is added to its score for the choice alone, and is moved after every step
// by ±rate, up where the step's load over the population was below the mean.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "layers/moe/router/router.h"

namespace switchyard {

class LoadBias {
 public:
  // rate 0: no bias.
  LoadBias(const std::string& name, int64_t experts, double rate);

  // scores_TE + bias.
  at::Tensor apply(const at::Tensor& scores_TE) const;
  // A part's slots by expert; a part that is computed again counts once. Nothing outside training.
  void observe(const TokenContext& context, const std::vector<int64_t>& slots);
  void finish_step();
  std::vector<RouterBuffer> buffers() const;  // `<name>.bias`, fp32 [E]

 private:
  const std::string name_;
  const double rate_;
  at::Tensor bias_E_;
  int64_t step_ = -1;
  std::map<int64_t, std::vector<int64_t>> slots_of_part_;
};

}  // namespace switchyard
