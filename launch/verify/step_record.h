// What is taken down of a step.
#pragma once

#include <cstdint>
#include <vector>

#include "launch/verify/router_log.h"
#include "parallel/checkpoint/tensor_part.h"

namespace switchyard {

// Parts of tensors that have the same names and shapes on every layout and in the reference; a step's tokens are
// numbered part by part.
struct StepRecord {
  std::vector<TensorPart> logits;           // "logits" [tokens, V]
  std::vector<TensorPart> input_gradients;  // "layers.1.input" [tokens, D]
};

// This rank's, by accumulation part.
struct RoutingRecord {
  std::vector<std::vector<Routed>> routed;  // of each part, by MoE layer
  std::vector<double> auxiliary_losses;     // shares of what is differentiated, of all layers together
};

// Choices of all ranks' tokens, by part, then by MoE layer, in the order of layers.
using Choices = std::vector<std::vector<Choice>>;

// Rows [row, row + n) of a tensor [rows, columns], from `column` on. data: [n, …].
TensorPart rows_part(std::string name, int64_t row, int64_t rows, const at::Tensor& data, int64_t column = 0,
                     int64_t columns = -1);

// Of one part's routing: "layers.1.moe.aux_loss.part0" [1].
std::vector<TensorPart> loss_parts(int64_t layer, int64_t part, const RouterStatistics& statistics);
// "layers.1.moe.tokens.part0" [E] and "layers.1.moe.dropped.part0" [1].
std::vector<TensorPart> count_parts(int64_t layer, int64_t part, const RouterStatistics& statistics);
// "layers.1.moe.weights.part0" [N]
TensorPart weights_part(int64_t layer, int64_t part, const at::Tensor& weights_N);

}  // namespace switchyard
