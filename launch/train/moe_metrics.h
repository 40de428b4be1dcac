// What the routers of a model say about a step, folded over parts and layers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "layers/models/decoder/decoder.h"

namespace switchyard {

// Losses are before their coefficients.
struct MoeFigures {
  // aux_loss, z_loss and the router's other losses and scalars (means over parts and layers) and load_imbalance (the
  // step's tokens of the most loaded expert over the mean, in the worst layer). Empty for a model without experts.
  std::map<std::string, double> all;
  // By layer: the same losses and scalars, entropy of the router's distribution (nats, mean over tokens),
  // experts_per_token (slots over tokens, before any is dropped), drop_rate (of slots), and load_min, load_max,
  // load_cv, load_p50, load_p95: over experts, as multiples of the mean load.
  std::map<int64_t, std::map<std::string, double>> layers;
  // Where a router's logits were not finite: the first layer and the lowest rank; empty: nowhere.
  std::string not_finite;
};

class MoeMetrics {
 public:
  explicit MoeMetrics(const Decoder& model) : model_(model) {}

  // After each part's forward. `tokens`: of the part, over all ranks.
  void add_part(int64_t tokens);
  MoeFigures take() const;

 private:
  struct Layer {
    std::map<std::string, double> sums;  // of losses, scalars and entropy, over parts
    std::vector<int64_t> tokens_per_expert;
    int64_t dropped = 0;
  };

  const Decoder& model_;
  int64_t parts_ = 0;
  int64_t tokens_ = 0;
  std::map<int64_t, Layer> layers_;
  std::string not_finite_;
};

// load_min … load_p95 of MoeFigures; percentiles are interpolated between ranks. Empty without load.
std::map<std::string, double> load_figures(std::vector<int64_t> tokens_per_expert);

}  // namespace switchyard
