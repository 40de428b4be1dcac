// Each collective as a plan: steps of messages between ranks and of local work, from one rank's point of view. A plan
// is data; Operation carries it out. The wire below it decides nothing about results.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "runtime/comm/communicator.h"
#include "runtime/comm/transport.h"

namespace switchyard {

// A step starts when the one before has ended, so messages may reuse its buffers.
struct Step {
  uint32_t stage = 0;  // tells apart the messages between two ranks within one operation; below kStageLimit
  std::vector<Message> sends;
  std::vector<Message> receives;
  std::function<void()> meanwhile;  // beside the messages; may be empty
  std::function<void()> then;       // when all of them are through; may be empty
};

inline constexpr uint32_t kStageLimit = 1u << 5;

struct Plan {
  std::vector<Step> steps;
  std::vector<at::Tensor> buffers;  // kept alive until the plan is carried out
};

// Which rank of how many draws up the plan.
struct Seat {
  int rank;
  int size;
};

// Arguments as in Communicator.
Plan plan_all_to_all(Seat seat, const at::Tensor& send, std::span<const int64_t> send_rows, const at::Tensor& recv,
                     std::span<const int64_t> recv_rows);
// Up to kSmallReduce bytes everyone sends all it has to everyone; above, each rank sums one piece. Both sum each
// element in rank order.
inline constexpr int64_t kSmallReduce = 8192;
Plan plan_all_reduce(Seat seat, const at::Tensor& inout, ReduceOp op);
Plan plan_reduce_scatter(Seat seat, const at::Tensor& send, std::span<const int64_t> rows, const at::Tensor& recv);
Plan plan_all_gather(Seat seat, const at::Tensor& send, const at::Tensor& recv, std::span<const int64_t> rows);
Plan plan_broadcast(Seat seat, const at::Tensor& inout, int root);
Plan plan_send(Seat seat, const at::Tensor& tensor, int to);
Plan plan_recv(Seat seat, const at::Tensor& tensor, int from);
Plan plan_barrier(Seat seat);

}  // namespace switchyard
