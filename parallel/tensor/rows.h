// Sequence parallelism (Korthikanti et al., "Reducing activation recomputation in large transformer models", 2022):
// between blocks the flattened tokens lie cut by rows over the tensor group; a block gathers them and scatters its
// partial results back. Both calls are autograd functions, each the other's backward, and collective over `comm`,
// forward and backward alike; a rank without rows enters too. A group of one gets its argument back. Failures of the
// wire are thrown as StatusError.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "runtime/comm/communicator.h"

namespace switchyard {

// x_tD: this rank's rows, rows_per_rank[rank] of them → all rows [T,D], in rank order. Backward: the sum over ranks of
// the gradients, this rank's rows of it.
at::Tensor gather_rows(const at::Tensor& x_tD, const std::vector<int64_t>& rows_per_rank, Communicator& comm);

// x_TD: this rank's part of a sum over ranks → this rank's rows [t,D] of the sum. Backward: all rows' gradients.
at::Tensor reduce_scatter_rows(const at::Tensor& x_TD, const std::vector<int64_t>& rows_per_rank, Communicator& comm);

}  // namespace switchyard
