// The smooth load estimator of noisy top-k routing (Shazeer et al., "Outrageously large neural networks", 2017).
#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

// How many tokens each expert may expect if its own noise were drawn again, fp64 [E]: the sum over tokens of
// Φ((logit − threshold) / spread), the threshold being the K-th largest score among the other experts. logits_TE,
// scores_TE and spread_TE are fp32 or fp64 alike and carry autograd; best_TK: the K + 1 experts with the largest
// scores, by falling score.
at::Tensor expected_load(const at::Tensor& logits_TE, const at::Tensor& scores_TE, const at::Tensor& spread_TE,
                         const at::Tensor& best_TK);

}  // namespace switchyard
