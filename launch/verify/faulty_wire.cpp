#include "launch/verify/faulty_wire.h"

#include "runtime/base/status.h"

namespace switchyard {
namespace {

class FaultyWire : public Communicator {
 public:
  FaultyWire(Communicator& wire, std::unique_ptr<Communicator> owned, std::shared_ptr<WireFault> fault)
      : wire_(wire), owned_(std::move(owned)), fault_(std::move(fault)) {}

  int rank() const override { return wire_.rank(); }
  int size() const override { return wire_.size(); }
  const std::string& name() const override { return wire_.name(); }
  int node_of(int rank) const override { return wire_.node_of(rank); }

  Work all_to_all(at::Tensor send, std::span<const int64_t> send_rows, at::Tensor recv,
                  std::span<const int64_t> recv_rows, Call call) override {
    return wire_.all_to_all(std::move(send), send_rows, std::move(recv), recv_rows, call);
  }
  Work all_reduce(at::Tensor inout, ReduceOp op, Call call) override {
    return fault_->all_reduce(wire_, std::move(inout), op, call);
  }
  Work reduce_scatter(at::Tensor send, std::span<const int64_t> rows, at::Tensor recv, Call call) override {
    return fault_->reduce_scatter(wire_, std::move(send), rows, std::move(recv), call);
  }
  Work all_gather(at::Tensor send, at::Tensor recv, std::span<const int64_t> rows, Call call) override {
    return fault_->all_gather(wire_, std::move(send), std::move(recv), rows, call);
  }
  Work broadcast(at::Tensor inout, int root, Call call) override {
    return wire_.broadcast(std::move(inout), root, call);
  }
  Work send(at::Tensor tensor, int to, Call call) override { return wire_.send(std::move(tensor), to, call); }
  Work recv(at::Tensor tensor, int from, Call call) override { return wire_.recv(std::move(tensor), from, call); }
  Work barrier(Call call) override { return wire_.barrier(call); }

  absl::StatusOr<std::unique_ptr<Communicator>> split(int color, int key, std::string name, Call call) override {
    SY_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> part, wire_.split(color, key, std::move(name), call));
    Communicator& split_wire = *part;
    return std::make_unique<FaultyWire>(split_wire, std::move(part), fault_);
  }

 private:
  Communicator& wire_;
  const std::unique_ptr<Communicator> owned_;
  const std::shared_ptr<WireFault> fault_;
};

}  // namespace

std::unique_ptr<Communicator> faulty_wire(Communicator& wire, std::shared_ptr<WireFault> fault) {
  return std::make_unique<FaultyWire>(wire, nullptr, std::move(fault));
}

}  // namespace switchyard
