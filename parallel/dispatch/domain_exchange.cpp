#include "parallel/dispatch/domain_exchange.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using PlanPointer = std::shared_ptr<const DomainExchange>;

class WeightsOfArrived : public torch::autograd::Function<WeightsOfArrived> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weights_N, const PlanPointer& plan) {
    context->saved_data["plan"] = hold(plan);
    return plan->send_weights(weights_N);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto plan = std::static_pointer_cast<const DomainExchange>(held(context->saved_data["plan"]));
    return {plan->return_weights(gradients[0]), at::Tensor()};
  }
};

}  // namespace

DomainExchange::DomainExchange(Communicator& group, Outgoing outgoing, const DomainExperts& experts, c10::Device device)
    : group_(group), outgoing_(std::move(outgoing)) {
  const at::Tensor gateways_M = outgoing_.gateways.to(device);
  table.offsets = outgoing_.offsets.to(device);
  std::vector<RowStart> starts;
  for (const int64_t count : outgoing_.rows) {
    starts.push_back({wire_rows, wire_rows});
    wire_rows += count;
  }
  index_slots(gateways_M, starts, table);
  exchange_slots(experts, device);
}

void DomainExchange::exchange_slots(const DomainExperts& experts, c10::Device device) {
  std::vector<int64_t> sizes;
  for (int r = 0; r < group_.size(); ++r) sizes.insert(sizes.end(), {outgoing_.rows[r], outgoing_.slots[r]});
  const std::vector<int64_t> two(group_.size(), 2);
  const at::Tensor sent_sizes = at::tensor(sizes, at::kLong), arriving = at::empty_like(sent_sizes);
  throw_if_error(group_.all_to_all(sent_sizes, two, arriving, two).wait());
  std::vector<int64_t> message_from;
  for (int r = 0; r < group_.size(); ++r) {
    rows_from_.push_back(arriving[2 * r].item<int64_t>());
    slots_from_.push_back(arriving[2 * r + 1].item<int64_t>());
    message_from.push_back(rows_from_.back() + slots_from_.back());
  }
  rows = sum_of(rows_from_);

  const at::Tensor sent = at::tensor(outgoing_.message, at::kLong);
  const at::Tensor message = at::empty({sum_of(message_from)}, at::kLong);
  throw_if_error(group_.all_to_all(sent, outgoing_.message_sizes(), message, message_from).wait());
  arrived_ = routing_of({message.const_data_ptr<int64_t>(), static_cast<size_t>(message.numel())}, rows,
                        sum_of(slots_from_), experts);
  arrived_.offsets = arrived_.offsets.to(device);
  arrived_.experts = arrived_.experts.to(device);
  slot_order_ = at::tensor(outgoing_.slot_order, at::kLong).to(device);
}

RowExchange::Arrival DomainExchange::deliver(const at::Tensor& wire_WD, const at::Tensor& rows_UD) const {
  return ends(group_.all_to_all(wire_WD, outgoing_.rows, rows_UD, rows_from_));
}

RowExchange::Arrival DomainExchange::collect(const at::Tensor& rows_UD, at::Tensor& returned_MD) const {
  returned_MD = at::empty({wire_rows, rows_UD.size(1)}, rows_UD.options());
  return ends(group_.all_to_all(rows_UD, rows_from_, returned_MD, outgoing_.rows));
}

at::Tensor DomainExchange::send_weights(const at::Tensor& weights_N) const {
  const at::Tensor arrived_M = at::empty({sum_of(slots_from_)}, weights_N.options());
  throw_if_error(
      group_.all_to_all(weights_N.index_select(0, slot_order_), outgoing_.slots, arrived_M, slots_from_).wait());
  return arrived_M;
}

at::Tensor DomainExchange::return_weights(const at::Tensor& g_M) const {
  const at::Tensor returned = at::empty({slot_order_.numel()}, g_M.options());
  throw_if_error(group_.all_to_all(g_M.contiguous(), slots_from_, returned, outgoing_.slots).wait());
  return at::zeros({outgoing_.slots_of_tokens}, g_M.options()).index_add_(0, slot_order_, returned);
}

at::Tensor DomainExchange::weights_of_arrived(const at::Tensor& weights_N, const PlanPointer& plan) {
  return WeightsOfArrived::apply(weights_N, plan);
}

}  // namespace switchyard
