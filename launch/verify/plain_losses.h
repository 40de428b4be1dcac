// The losses of routers, written out for a whole population on one rank. Each is a scalar before its coefficient.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace switchyard {

// E · Σ_e (share of the slots)_e · (mean probability)_e.
at::Tensor load_balance(const at::Tensor& slots_E, const at::Tensor& probabilities_TE);
// The mean of the above over sequences, each by itself.
at::Tensor load_balance_of_sequences(const at::Tensor& chosen_TE, const at::Tensor& probabilities_TE, int64_t sequence);

// Mean over tokens of −Σ p·log p.
at::Tensor mean_entropy(const at::Tensor& probabilities_TE);

// Variance over squared mean.
at::Tensor variation(const at::Tensor& values_E);

// [E]: Σ over tokens of the chance that e is among the token's K if its own noise is drawn again.
at::Tensor load_of_noise(const at::Tensor& logits_TE, const at::Tensor& noisy_TE, const at::Tensor& spread_TE,
                         int64_t k);

// Mean over labelled tokens of −log of the probability of the experts that the token's label owns. Undefined tags: 0.
at::Tensor label_loss(const at::Tensor& logits_TE, const at::Tensor& tags_T, int64_t labels);

}  // namespace switchyard
