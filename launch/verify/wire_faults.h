// The faults of wires that bugs are made of; each notes what it changes. A group is given by its name, "data/gradient";
// "/gradient" stands for all groups of that purpose, "" for all.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "launch/verify/change_count.h"
#include "launch/verify/faulty_wire.h"

namespace switchyard {

bool called_from(const Call& call, std::string_view file);

using Changes = std::shared_ptr<ChangeCount>;

// reduce_scatter in such groups: each rank keeps its own rows unsummed.
class UnsummedScatter : public WireFault {
 public:
  UnsummedScatter(Changes changes, std::string group) : changes_(std::move(changes)), group_(std::move(group)) {}
  Work reduce_scatter(Communicator& wire, at::Tensor send, std::span<const int64_t> rows, at::Tensor recv,
                      Call call) override;

 private:
  const Changes changes_;
  const std::string group_;
};

// reduce_scatter in such groups: what this rank sends is changed first.
class ChangedScatter : public WireFault {
 public:
  using Change = std::function<at::Tensor(const at::Tensor& sent, int group_size)>;
  ChangedScatter(Changes changes, std::string group, Change change)
      : changes_(std::move(changes)), group_(std::move(group)), change_(std::move(change)) {}
  Work reduce_scatter(Communicator& wire, at::Tensor send, std::span<const int64_t> rows, at::Tensor recv,
                      Call call) override;

 private:
  const Changes changes_;
  const std::string group_;
  const Change change_;
};

// all_reduce of sums in such groups, called from `file` (the end of its path): each rank keeps its own.
class UnsummedReduce : public WireFault {
 public:
  UnsummedReduce(Changes changes, std::string group, std::string file)
      : changes_(std::move(changes)), group_(std::move(group)), file_(std::move(file)) {}
  Work all_reduce(Communicator& wire, at::Tensor inout, ReduceOp op, Call call) override;

 private:
  const Changes changes_;
  const std::string group_, file_;
};

// The gradient norm of the step before.
class StaleNorm : public WireFault {
 public:
  explicit StaleNorm(Changes changes) : changes_(std::move(changes)) {}
  Work all_reduce(Communicator& wire, at::Tensor inout, ReduceOp op, Call call) override;

 private:
  const Changes changes_;
  at::Tensor before_;
};

// Updated values that this rank gives to others are those of the step before.
class StaleShard : public WireFault {
 public:
  explicit StaleShard(Changes changes) : changes_(std::move(changes)) {}
  Work all_reduce(Communicator& wire, at::Tensor inout, ReduceOp op, Call call) override;
  Work all_gather(Communicator& wire, at::Tensor send, at::Tensor recv, std::span<const int64_t> rows,
                  Call call) override;

 private:
  const Changes changes_;
  std::map<const Communicator*, std::vector<at::Tensor>> before_, now_;
};

}  // namespace switchyard
