// What a dispatcher does with the rows of a layer, without the experts: plan, dispatch, and combine of the rows as they
// came, forward only.
#pragma once

#include <cstdint>
#include <vector>

#include <c10/core/TensorOptions.h>

#include "launch/bench/all_to_all_sizes.h"
#include "launch/bench/bench_exchange.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

// One for each of the routed sizes, by the mesh's dispatcher, of tokens of `width` numbers that go to some of
// `experts`; `rows`: their dtype and device. All rows go out and come back; of those that stay on their rank every
// slot's counts, as for record_own_rows. Copied is a row for every slot, whichever the dispatcher: on the way out those
// of this rank's experts, on the way back those of its tokens, as far as they are from its host. `mesh` is borrowed.
// Local.
std::vector<BenchExchange> dispatched_exchanges(const std::vector<RowCounts>& sizes, int64_t experts, int64_t width,
                                                const at::TensorOptions& rows, const Mesh& mesh);

}  // namespace switchyard
