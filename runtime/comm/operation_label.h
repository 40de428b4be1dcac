// What messages say about an operation between ranks.
#pragma once

#include <cstdint>
#include <source_location>
#include <string>

#include "runtime/comm/collectives.h"

namespace switchyard {

struct OperationLabel {
  std::string group;
  std::string operation;
  uint64_t sequence;
  std::source_location where;
  int64_t placed_bytes = 0;  // as Call's
};

// "rank 1 of 4 in group 'data/gradient': all_reduce #7 called at parallel/gradient/clip.cpp:58"
std::string headline(Seat seat, const OperationLabel& label);

}  // namespace switchyard
