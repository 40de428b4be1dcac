// What a model reaches that knows how often each token occurs and nothing else: the loss that training has to beat.
#pragma once

#include <cstdint>
#include <span>

namespace switchyard {

// Cross-entropy of the held-out tokens, in nats a token, under the training set's frequencies with add-one smoothing:
//   −(1/M) Σ_v h_v · ln((t_v + 1) / (N + V)),  N = Σ t_v, M = Σ h_v
// where t_v and h_v count token v of V in the training and in the held-out set. M > 0.
double unigram_loss(std::span<const int64_t> training_counts, std::span<const int64_t> held_out_counts);

}  // namespace switchyard
