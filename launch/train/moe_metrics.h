// What the routers of a model say about a step, folded over parts and layers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "layers/models/decoder/decoder.h"

namespace switchyard {

class MoeMetrics {
 public:
  explicit MoeMetrics(const Decoder& model) : model_(model) {}

  // After each part's forward.
  void add_part();
  // aux_loss and z_loss (before their coefficients, means over parts and layers) and load_imbalance (the step's tokens
  // of the most loaded expert over the mean, in the worst layer). Empty for a model without experts.
  std::map<std::string, double> take() const;

 private:
  const Decoder& model_;
  int64_t samples_ = 0;
  double aux_loss_ = 0;
  double z_loss_ = 0;
  std::vector<std::vector<int64_t>> tokens_per_expert_;  // by MoE layer
};

}  // namespace switchyard
