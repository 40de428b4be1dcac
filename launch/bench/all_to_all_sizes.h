// The exchanges of rows that `switchyard bench all-to-all` measures.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>
#include <absl/status/statusor.h>

#include "launch/bench/all_to_all_options.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// One exchange, as this rank sees it.
struct RowCounts {
  int64_t rows = 0;                     // to each other rank or, of routed ones, of how many tokens
  std::vector<int64_t> sent, received;  // by rank; none to itself
  int64_t own = 0;                      // stay on the rank
  at::Tensor experts_TK = {};           // int64, where the tokens go; undefined: rows are not routed
};

// Of rows by rank, those of the ranks on this one's host.
int64_t rows_on_host(const std::vector<int64_t>& rows, const Communicator& group);

// Even counts grow fourfold until a rank would send more than this.
inline constexpr int64_t kMostBytes = 64 << 20;
// Routed rows go as a whole and, as where they are to overlap with computing, in these numbers of chunks.
inline constexpr int64_t kChunks[] = {16, 8, 4, 2, 1};

// Small ones first. Collective over `group`; kCommunication, and kBadConfig on all ranks alike.
absl::StatusOr<std::vector<RowCounts>> exchange_sizes(const AllToAllBenchOptions& options, int64_t row_bytes,
                                                      Communicator& group);

}  // namespace switchyard
