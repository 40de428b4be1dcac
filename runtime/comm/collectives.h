// Each collective as a plan: steps of messages between ranks and of local work, from one rank's point of view. A plan
// is data: Operation carries it out on the host, NcclCommunicator on a device. The wire below it decides nothing about
// results.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "runtime/comm/communicator.h"
#include "runtime/comm/reduction.h"
#include "runtime/comm/transport.h"

namespace switchyard {

struct Copy {
  char* to = nullptr;
  const char* from = nullptr;
  int64_t bytes = 0;
};

// A step starts when the one before has ended, so messages may reuse its buffers.
struct Step {
  uint32_t stage = 0;  // tells apart the messages between two ranks within one operation; below kStageLimit
  std::vector<Message> sends;
  std::vector<Message> receives;
  Copy meanwhile;                 // beside the messages; may be of nothing
  std::optional<Reduction> then;  // when all of them are through
};

inline constexpr uint32_t kStageLimit = 1u << 5;

struct Plan {
  std::vector<Step> steps;
  std::vector<at::Tensor> buffers;  // kept alive until the plan is carried out
  Promptness promptness = Promptness::kWhole;
};

struct SentBytes {
  int64_t node = 0;    // to ranks of the same host
  int64_t remote = 0;  // to others
};
// `on_host(rank)`: whether that rank is on this one's.
template <typename OnHost>
SentBytes sent_bytes(const Plan& plan, const OnHost& on_host) {
  SentBytes sent;
  for (const Step& step : plan.steps) {
    for (const Message& message : step.sends) (on_host(message.peer) ? sent.node : sent.remote) += message.bytes;
  }
  return sent;
}

// Which rank of how many draws up the plan.
struct Seat {
  int rank;
  int size;
};

// Arguments as in Communicator. Scratch space is taken on the tensors' device.
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
