// Kernels of softmax routing: the choice of experts with what the auxiliary losses need, and the gradient of both. All
// tensors are fp32 or fp64 alike, contiguous. Ties go to the lower expert id. Results do not depend on the number of
// threads.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace switchyard {

struct TopK {
  at::Tensor experts_N;                  // int64, N = T·K: by token, then by falling logit
  at::Tensor weights_N;                  // the experts' probabilities, divided by their sum if renormalised
  at::Tensor log_sums_T;                 // log Σ exp of each token's logits
  std::vector<int64_t> slots;            // [E] tokens of this rank that chose each expert
  std::vector<double> probability_sums;  // [E] Σ over tokens
  double squared_log_sums = 0;           // Σ over tokens
  double entropies = 0;                  // Σ over tokens of −Σ_e p·log p; not finite where a logit is not
};

// probabilities_TE is the softmax of logits_TE over experts. `given_N` defined: these experts are taken instead, int64
// [T·experts_per_token] by token.
TopK softmax_top_k(const at::Tensor& logits_TE, const at::Tensor& probabilities_TE, int64_t experts_per_token,
                   bool renormalise, const at::Tensor& given_N = {});

// The gradient of the logits, given that of the weights, one added to every token's probabilities (the load-balance
// loss is linear in them), and a factor for 2·log sum·probability (z-loss).
at::Tensor softmax_top_k_backward(const at::Tensor& probabilities_TE, const TopK& chosen, bool renormalise,
                                  const at::Tensor& weight_gradients_N,
                                  const std::vector<double>& probability_gradients, double z_factor);

}  // namespace switchyard
