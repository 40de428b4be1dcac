#include "parallel/topology/placement.h"

#include "parallel/topology/box.h"

namespace switchyard {

Placement Placement::contiguous(int64_t experts, int ranks) {
  Placement placement;
  placement.experts = experts;
  placement.owner.resize(experts);
  placement.experts_of.resize(ranks);
  for (int r = 0; r < ranks; ++r) {
    const auto [begin, end] = cut(experts, ranks, r);
    for (int64_t e = begin; e < end; ++e) {
      placement.owner[e] = r;
      placement.experts_of[r].push_back(e);
    }
  }
  return placement;
}

}  // namespace switchyard
