// Batches for tests, cut from one global step as the data loader would cut them.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "layers/models/token_batch.h"

namespace switchyard {

// All sequences of one step, in order: int64 [B·S] each. `piece`: equal for the tokens of one piece of a document.
struct GlobalStep {
  int64_t sequence = 0;
  at::Tensor tokens, targets, positions, piece;
  at::Tensor tags = {};  // undefined: none
};

// Random documents: about one token in `document_length` begins a new one. The same for the same seed. As long as the
// vocabulary lasts no two begin alike, and no token comes twice in a row: tokens that have seen the same tie for an
// expert's last place, and rounding would decide.
GlobalStep random_step(int64_t sequences, int64_t sequence, int64_t vocabulary, int64_t document_length, uint64_t seed);

// What data rank `index` of `ranks` holds of part `part` of `parts`.
TokenBatch cut_batch(const GlobalStep& step, int64_t part, int64_t parts, int64_t ranks, int64_t index);

}  // namespace switchyard
