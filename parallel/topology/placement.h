// Which rank of the expert axis holds which experts. At first the contiguous map; replication and migration later
// change the map, never the experts' names.
#pragma once

#include <cstdint>
#include <vector>

namespace switchyard {

struct Placement {
  int64_t experts = 0;
  std::vector<int> owner;                        // [experts] index along the expert axis
  std::vector<std::vector<int64_t>> experts_of;  // per index, ascending expert ids; may be empty

  // Expert e goes to the part of ⌊i·experts/ranks⌋ cuts that holds it.
  static Placement contiguous(int64_t experts, int ranks);
};

}  // namespace switchyard
