#include "runtime/comm/nccl.h"

#include "runtime/comm/cuda_queue.h"
#include "runtime/comm/nccl_communicator.h"

namespace switchyard {

absl::StatusOr<std::unique_ptr<Communicator>> make_nccl_world(Communicator& host, absl::Duration timeout) {
  return NcclCommunicator::create(host, make_cuda_queue, timeout);
}

}  // namespace switchyard
