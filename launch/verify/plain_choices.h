// How routers choose, written out for a whole population on one rank. A choice is a mask [T,E].
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "layers/moe/router/router.h"

namespace switchyard {

// The `count` largest along a dimension, the first among equals.
at::Tensor largest_along(const at::Tensor& scores_TE, int64_t count, int64_t dim);

// scores_TE with −∞ outside each token's `kept` groups of experts: those whose two best add up to the most.
at::Tensor within_best_groups(const at::Tensor& scores_TE, int64_t groups, int64_t kept);

// The most probable experts of each token until their probabilities add up to `enough`, at most `most` of them.
at::Tensor most_probable(const at::Tensor& probabilities_TE, double enough, int64_t most);

// exp(logits_TE) with rows and columns scaled in turn to equal sums.
at::Tensor sinkhorn(const at::Tensor& logits_TE, int64_t iterations);

Choice choice_of_mask(const at::Tensor& chosen_TE);
at::Tensor mask_of_choice(const Choice& choice, int64_t experts);
// Of `choice`, what a capacity has left.
Choice kept_slots(const Choice& choice);
// The token of every slot.
at::Tensor tokens_of(const at::Tensor& offsets);

}  // namespace switchyard
