// What one data rank holds of one part of a step's batch. All ranks of a tensor group hold the same.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace switchyard {

struct TokenBatch {
  int64_t sequences = 0;  // B, this rank's; may be 0
  int64_t sequence = 0;   // S
  at::Tensor tokens;      // int64 [B·S]
  at::Tensor targets;     // int64 [B·S]; −1: not counted in the loss (a document's last token)
  at::Tensor tags;        // int64 [B·S], of the documents, −1: none; undefined where the data carries none
  at::Tensor positions;   // int64 [B·S], within the document's piece in its sequence
  // Rows at which a piece of a document begins, ascending, then B·S; every sequence begins one. Attention stays within
  // a piece.
  std::vector<int64_t> piece_starts;
  int64_t first_token = 0;     // global index, within the part, of this rank's first token
  int64_t part_tokens = 0;     // tokens of the part over all data ranks
  int64_t global_targets = 0;  // counted targets of the whole step: all parts, all data ranks; the loss's divisor
  int64_t part = 0;            // index within the step
  int64_t parts = 1;           // accumulation
  int64_t step = 0;
  bool training = true;  // routers may explore
};

}  // namespace switchyard
