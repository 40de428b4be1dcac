// A batch of tokens with a routing, known as a whole, and the share of it that each rank holds.
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "parallel/dispatch/dispatcher.h"

namespace switchyard {

// kSkewed: the last expert gets nothing. kOneExpert: every token goes to expert 0 alone.
enum class Skew { kUniform, kSkewed, kOneExpert };

struct GlobalBatch {
  at::Tensor x_TD;
  at::Tensor g_TD;  // gradient of what comes out
  Routing routing;  // weights: a leaf that requires grad

  // `width` columns; K slots a token, or 0 … K where `ragged`.
  static GlobalBatch make(int64_t tokens, int64_t width, int64_t experts, int64_t experts_per_token, Skew skew,
                          bool ragged, at::ScalarType dtype, uint64_t seed = 1);
  // Tokens [begin, end), their slots, and fresh leaves.
  GlobalBatch share(int64_t begin, int64_t end) const;
};

}  // namespace switchyard
