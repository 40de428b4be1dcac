// The wire between domains: rows and slots of one dispatch, from the ranks that hold the tokens to the gateways and
// back.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/dispatch/domains.h"
#include "parallel/dispatch/row_exchange.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// Rows that arrive are ordered by the rank they come from, then by token.
class DomainExchange : public RowExchange {
 public:
  // One for each chunk of the tokens. Collective over `group`, which is borrowed.
  static std::vector<std::shared_ptr<const DomainExchange>> plan(Communicator& group, std::vector<Outgoing> chunks,
                                                                 const DomainExperts& experts, c10::Device device);

  Arrival deliver(const at::Tensor& wire_WD, const at::Tensor& rows_UD) const override;
  Arrival collect(const at::Tensor& rows_UD, Returned& returned) const override;

  // Of the rows that arrived, over the domain's experts, without weights.
  const Routing& arrived() const { return arrived_; }
  const Outgoing& outgoing() const { return outgoing_; }
  // Slots of the rows from each rank; they are the slots of arrived(), rank by rank.
  const std::vector<int64_t>& slots_from() const { return slots_from_; }

 private:
  // rows_from, slots_from: each rank; message: theirs, by rank.
  DomainExchange(Communicator& group, Outgoing outgoing, std::vector<int64_t> rows_from,
                 std::vector<int64_t> slots_from, std::span<const int64_t> message, const DomainExperts& experts,
                 c10::Device device);

  Communicator& group_;
  Outgoing outgoing_;
  std::vector<int64_t> rows_from_, slots_from_;  // each rank
  Routing arrived_;
};

}  // namespace switchyard
