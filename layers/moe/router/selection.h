// Choices of experts made from scores, and values looked up at them.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "layers/moe/router/router.h"

namespace switchyard {

// The k experts with the highest score of each token, by falling score; ties go to the lower id, NaN is lowest.
// scores_TE: fp32 or fp64. Results do not depend on the number of threads.
Choice top_k(const at::Tensor& scores_TE, int64_t k);

// The pairs that are set, by token and then by expert. chosen_TE: bool.
Choice choice_of(const at::Tensor& chosen_TE);

// The token of each slot, int64 [N].
at::Tensor slot_tokens(const Choice& choice);

// The slots that `kept_N` (bool) leaves.
Choice filter(const Choice& choice, const at::Tensor& kept_N);

// values_TE at (token, expert) of each slot, [N], with autograd.
at::Tensor at_slots(const at::Tensor& values_TE, const Choice& choice);

// Each slot's value divided by the sum over its token's slots, with autograd.
at::Tensor normalise(const at::Tensor& values_N, const Choice& choice);

}  // namespace switchyard
