// The dropless dispatcher over a group of ranks: every slot's row goes straight to the rank (expert_tensor: the ranks)
// of its expert by one all-to-all with uneven counts, and comes back by another. Rank of the group = index along the
// expert axis · expert_tensor + index along expert_tensor.
//
// To plan, every rank tells each rank how many rows it will send to each of that rank's experts, an int64 for each
// chunk. Dispatch and combine then move the rows. Ranks that share memory write rows straight into their places at the
// experts, and read what returns where the experts left it; only messages say where these are, and that all is written.
// Other rows are gathered, sent and put in order. Rows that stay on their rank do not pass through the wire's buffers,
// unless the rank holds a single expert and shares no memory: then what arrives is in order already.
#pragma once

#include "parallel/dispatch/row_dispatcher.h"
#include "parallel/topology/placement.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/shared_memory.h"

namespace switchyard {

class AllToAllDispatcher : public RowDispatcher {
 public:
  // `group` is the mesh's {expert, expert_tensor} for Purpose::kDispatch and is borrowed, also by the plans. Its size
  // is placement.experts_of.size() · expert_tensor.
  // `node`: the group's ranks on this host; `memory`: theirs, null: none. Both are borrowed as well. The
  // dispatcher outlives its plans.
  AllToAllDispatcher(Communicator& group, Placement placement, int expert_tensor, Communicator& node,
                     const SharedMemory* memory);

 private:
  std::vector<RowExchangePointer> exchanges_of(std::span<const Routing> chunks) override;

  Communicator& group_;
  Placement placement_;
  int expert_tensor_;
  Communicator& node_;
  const SharedMemory* memory_;
};

}  // namespace switchyard
