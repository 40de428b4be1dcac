// The communicator of host tensors, over any transport. Progress is made by the ranks that wait and by the shared
// progress thread, so outstanding operations move on while their ranks compute.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/comm/collectives.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/progress.h"
#include "runtime/comm/transport.h"

namespace switchyard {

inline constexpr absl::Duration kDefaultCommunicationTimeout = absl::Minutes(10);

class HostCommunicator : public Communicator {
 public:
  HostCommunicator(std::shared_ptr<Transport> transport, std::string name, absl::Duration timeout,
                   std::shared_ptr<Progress> progress);

  // The default of this communicator's calls from now on, and of groups split from it.
  void set_timeout(absl::Duration timeout) { timeout_ = timeout; }
  // Of this communicator's calls from now on, and of groups split from it. Null: none.
  void observe(WireObserver observer);

  int rank() const override { return seat_.rank; }
  int size() const override { return seat_.size; }
  const std::string& name() const override { return name_; }
  int node_of(int rank) const override { return transport_->residence().nodes.at(rank); }
  std::shared_ptr<const WireObserver> observer() const override { return observer_; }

  Work all_to_all(at::Tensor send, std::span<const int64_t> send_rows, at::Tensor recv,
                  std::span<const int64_t> recv_rows, Call call) override;
  Work all_reduce(at::Tensor inout, ReduceOp op, Call call) override;
  Work reduce_scatter(at::Tensor send, std::span<const int64_t> rows, at::Tensor recv, Call call) override;
  Work all_gather(at::Tensor send, at::Tensor recv, std::span<const int64_t> rows, Call call) override;
  Work broadcast(at::Tensor inout, int root, Call call) override;
  Work send(at::Tensor tensor, int to, Call call) override;
  Work recv(at::Tensor tensor, int from, Call call) override;
  Work barrier(Call call) override;
  absl::StatusOr<std::unique_ptr<Communicator>> split(int color, int key, std::string name, Call call) override;

 private:
  Work collective(const char* operation, Plan plan, const Call& call);
  Work start(const char* operation, Plan plan, uint64_t sequence, uint32_t tag, const Call& call);

  const std::shared_ptr<Transport> transport_;
  const Seat seat_;
  const std::string name_;
  absl::Duration timeout_;
  const std::shared_ptr<Progress> progress_;
  std::shared_ptr<const WireObserver> observer_;
  uint64_t sequence_ = 0;             // of the next collective
  std::vector<uint64_t> sent_to_;     // messages of send() so far, by peer
  std::vector<uint64_t> heard_from_;  // messages of recv() so far, by peer
};

}  // namespace switchyard
