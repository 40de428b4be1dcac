#include "parallel/dispatch/domain_exchange.h"

#include <ATen/ATen.h>

namespace switchyard {

std::vector<std::shared_ptr<const DomainExchange>> DomainExchange::plan(Communicator& group,
                                                                        std::vector<Outgoing> chunks,
                                                                        const DomainExperts& experts,
                                                                        c10::Device device) {
  const int ranks = group.size();
  // How many rows and slots, then the experts of the slots; to each rank what it is to know of all chunks.
  std::vector<int64_t> sizes, messages, message_to(ranks);
  std::vector<int64_t> message_begin(chunks.size());
  std::vector<std::vector<int64_t>> message_sizes;
  for (const Outgoing& chunk : chunks) message_sizes.push_back(chunk.message_sizes());
  for (int r = 0; r < ranks; ++r) {
    for (size_t i = 0; i < chunks.size(); ++i) {
      sizes.insert(sizes.end(), {chunks[i].rows[r], chunks[i].slots[r]});
      const auto first = chunks[i].message.begin() + message_begin[i];
      const int64_t count = message_sizes[i][r];
      messages.insert(messages.end(), first, first + count);
      message_begin[i] += count;
      message_to[r] += count;
    }
  }
  const std::vector<int64_t> two_a_chunk(ranks, 2 * static_cast<int64_t>(chunks.size()));
  const std::vector<int64_t> arriving = exchange_numbers(group, sizes, two_a_chunk, two_a_chunk);
  std::vector<int64_t> message_from(ranks);
  for (size_t i = 0; i < arriving.size(); ++i) message_from[i / (2 * chunks.size())] += arriving[i];
  const std::vector<int64_t> message = exchange_numbers(group, messages, message_to, message_from);

  std::vector<std::vector<int64_t>> rows_from(chunks.size()), slots_from(chunks.size()), message_of(chunks.size());
  auto next = message.begin();
  auto size = arriving.begin();
  for (int r = 0; r < ranks; ++r) {
    for (size_t i = 0; i < chunks.size(); ++i) {
      rows_from[i].push_back(*size++);
      slots_from[i].push_back(*size++);
      const int64_t count = rows_from[i].back() + slots_from[i].back();
      message_of[i].insert(message_of[i].end(), next, next + count);
      next += count;
    }
  }
  std::vector<std::shared_ptr<const DomainExchange>> plans;
  for (size_t i = 0; i < chunks.size(); ++i) {
    plans.emplace_back(new DomainExchange(group, std::move(chunks[i]), std::move(rows_from[i]),
                                          std::move(slots_from[i]), message_of[i], experts, device));
  }
  return plans;
}

DomainExchange::DomainExchange(Communicator& group, Outgoing outgoing, std::vector<int64_t> rows_from,
                               std::vector<int64_t> slots_from, std::span<const int64_t> message,
                               const DomainExperts& experts, c10::Device device)
    : group_(group),
      outgoing_(std::move(outgoing)),
      rows_from_(std::move(rows_from)),
      slots_from_(std::move(slots_from)) {
  table.offsets = outgoing_.offsets.to(device);
  std::vector<RowStart> starts;
  for (const int64_t count : outgoing_.rows) {
    starts.push_back({wire_rows, wire_rows});
    wire_rows += count;
  }
  index_slots(outgoing_.gateways.to(device), starts, table);
  rows = sum_of(rows_from_);
  arrived_ = routing_of(message, rows, sum_of(slots_from_), experts);
  arrived_.offsets = arrived_.offsets.to(device);
  arrived_.experts = arrived_.experts.to(device);
}

RowExchange::Arrival DomainExchange::deliver(const at::Tensor& wire_WD, const at::Tensor& rows_UD) const {
  return ends(group_.all_to_all(wire_WD, outgoing_.rows, rows_UD, rows_from_));
}

RowExchange::Arrival DomainExchange::collect(const at::Tensor& rows_UD, Returned& returned) const {
  returned = {at::empty({wire_rows, rows_UD.size(1)}, rows_UD.options()), table, {}, {}};
  return ends(group_.all_to_all(rows_UD, rows_from_, returned.rows_XD, outgoing_.rows));
}

}  // namespace switchyard
