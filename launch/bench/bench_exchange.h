// What `switchyard bench all-to-all` times.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace switchyard {

// An exchange of rows between the ranks of the dispatch group, as this rank sees it.
struct BenchExchange {
  int64_t rows = 0;           // as RowCounts has it
  std::function<void()> run;  // collective over the group, whose wires say what this rank sends; throws StatusError
  // Bytes from other ranks, where other rows are sent than received; 0: what is received is sent back, so all are sent.
  int64_t received = 0;
  int64_t own = 0;  // bytes that stay on the rank
  // Bytes, each way, that a plain copy of the rows that come to this rank from its host would move.
  std::vector<int64_t> copies;
};

}  // namespace switchyard
