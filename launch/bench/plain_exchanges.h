// The all-to-all of rows alone, one way, in buffers that are there already.
#pragma once

#include <cstdint>
#include <vector>

#include <c10/core/TensorOptions.h>

#include "launch/bench/all_to_all_sizes.h"
#include "launch/bench/bench_exchange.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// One for each size, of rows of `width` numbers; `rows`: their dtype and device. Rows that stay on their rank take no
// part. Copied is what comes from others on the host. `group` is borrowed. Local.
std::vector<BenchExchange> plain_exchanges(const std::vector<RowCounts>& sizes, int64_t width,
                                           const at::TensorOptions& rows, Communicator& group);

}  // namespace switchyard
