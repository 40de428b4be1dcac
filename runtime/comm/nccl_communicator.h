// The communicator of a rank with a device. Device tensors travel over NCCL: every collective is the plan that hosts
// carry out too (collectives.h), as grouped ncclSend and ncclRecv on a queue of the group's own, so that sums have the
// same bits as anywhere else. Host tensors and barriers go over the host communicator that it stands on.
// What differs from hosts: a group's operations run one after another in the order of the calls, so two ranks that both
// send to each other before they receive wait for ever; counts that do not match are not noticed but hang; and wait()
// does not hold the host.
#pragma once

#include <memory>
#include <string>

#include "runtime/comm/nccl_group.h"
#include "runtime/comm/nccl_watchdog.h"

namespace switchyard {

class NcclCommunicator : public Communicator {
 public:
  // Collective over `host`, which is borrowed.
  static absl::StatusOr<std::unique_ptr<Communicator>> create(Communicator& host, MakeQueue make_queue,
                                                              absl::Duration timeout);

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  const std::string& name() const override { return host_.name(); }
  int node_of(int rank) const override { return host_.node_of(rank); }
  std::shared_ptr<const WireObserver> observer() const override { return host_.observer(); }

  Work all_to_all(at::Tensor send, std::span<const int64_t> send_rows, at::Tensor recv,
                  std::span<const int64_t> recv_rows, Call call) override;
  Work all_reduce(at::Tensor inout, ReduceOp op, Call call) override;
  Work reduce_scatter(at::Tensor send, std::span<const int64_t> rows, at::Tensor recv, Call call) override;
  Work all_gather(at::Tensor send, at::Tensor recv, std::span<const int64_t> rows, Call call) override;
  Work broadcast(at::Tensor inout, int root, Call call) override;
  Work send(at::Tensor tensor, int to, Call call) override;
  Work recv(at::Tensor tensor, int from, Call call) override;
  Work barrier(Call call) override { return host_.barrier(call); }
  absl::StatusOr<std::unique_ptr<Communicator>> split(int color, int key, std::string name, Call call) override;

 private:
  struct Shared {
    MakeQueue make_queue;
    absl::Duration timeout;
    NcclWatchdog watchdog;
  };

  NcclCommunicator(Communicator& host, std::unique_ptr<Communicator> owned_host, ncclComm_t comm,
                   std::shared_ptr<Shared> shared);

  bool on_host(const at::Tensor& tensor) const;
  Work start(const char* operation, Plan plan, const Call& call);
  void tell_observer(const OperationLabel& label, const SentBytes& sent) const;

  const std::unique_ptr<Communicator> owned_host_;  // null for the world's, which is borrowed
  Communicator& host_;
  const std::shared_ptr<Shared> shared_;
  const std::shared_ptr<NcclGroup> group_;
  uint64_t sequence_ = 0;
};

}  // namespace switchyard
