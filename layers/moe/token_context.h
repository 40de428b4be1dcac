// What is known about the tokens of a batch beside their activations.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace switchyard {

struct TokenContext {
  at::Tensor tokens;             // int64 [t], this rank's; ids
  at::Tensor tags;               // int64 [t], the documents' tags, −1: none; undefined where the data carries none
  int64_t sequence = 0;          // S; tokens of one sequence follow each other
  int64_t first_token = 0;       // global index, within the part, of this rank's first token; the others follow it
  int64_t data_rank_tokens = 0;  // T: of all tensor ranks of this data rank; t is this rank's cut of them
  int64_t population = 0;        // tokens of the part over all ranks: what routing and its losses see
  int64_t part = 0;              // index within the step
  int64_t parts = 1;             // of the step; losses are means over them
  int64_t step = 0;
  bool training = true;
};

}  // namespace switchyard
