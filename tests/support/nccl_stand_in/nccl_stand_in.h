// What tests see of the stand-in beside NCCL's own functions.
#pragma once

#include <utility>
#include <vector>

#include "tests/support/nccl_stand_in/nccl.h"

namespace switchyard::nccl_stand_in {

// Peers and bytes of one ncclGroupStart … ncclGroupEnd, in the order of the calls.
struct Group {
  std::vector<std::pair<int, size_t>> sends, receives;
};

// The groups that this thread has ended since it last asked.
std::vector<Group> take_groups();

// What ncclGetUniqueId returns from now on.
void set_unique_id_result(ncclResult_t code);

}  // namespace switchyard::nccl_stand_in
