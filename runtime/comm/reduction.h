// A reduction over the ranks of a group once their pieces have arrived, as data that host and device carry out alike.
#pragma once

#include <cstdint>

#include <c10/core/ScalarType.h>

#include "runtime/comm/communicator.h"

namespace switchyard {

// out[i] = piece of rank 0 [i] ∘ piece of rank 1 [i] ∘ …, strictly in that order.
struct Reduction {
  at::ScalarType dtype;
  ReduceOp op;
  int rank, ranks;  // this rank's piece is elsewhere than the others'
  const char* mine;
  char* others;         // in rank order, one after another
  int64_t piece_bytes;  // of one piece
  char* out;            // may be `mine`
};

// visit(rank, place of its piece among the others)
template <typename Visit>
void for_each_other(const Reduction& reduction, Visit visit) {
  char* place = reduction.others;
  for (int rank = 0; rank < reduction.ranks; ++rank) {
    if (rank == reduction.rank) continue;
    visit(rank, place);
    place += reduction.piece_bytes;
  }
}

}  // namespace switchyard
