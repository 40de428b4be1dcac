#include <ATen/ATen.h>

#include "parallel/dispatch/dispatcher.h"

namespace switchyard {

Routing Routing::of_tokens(int64_t begin, int64_t end) const {
  const auto first = offsets[begin].item<int64_t>(), slots = offsets[end].item<int64_t>() - first;
  return {.offsets = offsets.narrow(0, begin, end - begin + 1) - first,
          .experts = experts.narrow(0, first, slots),
          .weights = weights.narrow(0, first, slots)};
}

}  // namespace switchyard
