// A wire that loses or spoils what it is told to: for bugs that verification must catch.
#pragma once

#include <memory>
#include <string>

#include "runtime/comm/communicator.h"

namespace switchyard {

// What becomes of the collectives of every group of a mesh; by default what the caller asked for. Groups are told apart
// by `wire.name()`, such as "data+tensor/gradient", and callers by call.where. One object serves all groups of a rank.
class WireFault {
 public:
  virtual ~WireFault() = default;
  virtual Work all_reduce(Communicator& wire, at::Tensor inout, ReduceOp op, Call call) {
    return wire.all_reduce(std::move(inout), op, call);
  }
  virtual Work reduce_scatter(Communicator& wire, at::Tensor send, std::span<const int64_t> rows, at::Tensor recv,
                              Call call) {
    return wire.reduce_scatter(std::move(send), rows, std::move(recv), call);
  }
  virtual Work all_gather(Communicator& wire, at::Tensor send, at::Tensor recv, std::span<const int64_t> rows,
                          Call call) {
    return wire.all_gather(std::move(send), std::move(recv), rows, call);
  }
};

// `wire` and all that is split from it, under the fault. `wire` outlives it.
std::unique_ptr<Communicator> faulty_wire(Communicator& wire, std::shared_ptr<WireFault> fault);

}  // namespace switchyard
