// The best candidates of each expert over the whole routing population, without gathering them: by radix selection on
// counts, so that memory does not grow with the ranks and the result does not depend on the layout.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "layers/moe/router/population.h"

namespace switchyard {

// Which of this rank's candidates are among the `limit` best of their expert: bool [N]. experts_N: int64, the expert
// of each candidate, in the order of the tokens; scores_N: fp32 or fp64, NaN is lowest. Ties go to the candidate that
// comes first in token order (rank order is token order); undefined scores: all tie. Collective over `ranks`.
at::Tensor population_top(const at::Tensor& experts_N, const at::Tensor& scores_N, int64_t experts, int64_t limit,
                          Communicator& ranks);

}  // namespace switchyard
