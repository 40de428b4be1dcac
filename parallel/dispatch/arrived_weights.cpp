#include "parallel/dispatch/arrived_weights.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parallel/parameter/borrow.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Weights of all chunks on their way, rank by rank and within one chunk by chunk.
struct WeightExchange {
  WeightExchange(Communicator& group, at::Tensor order_M, std::vector<int64_t> to, std::vector<int64_t> from)
      : group(group), order_M(std::move(order_M)), to(std::move(to)), from(std::move(from)) {}

  at::Tensor send(const at::Tensor& weights_N) const {
    const at::Tensor arrived = at::empty({sum_of(from)}, weights_N.options());
    throw_if_error(group.all_to_all(weights_N.index_select(0, order_M), to, arrived, from).wait());
    return arrived;
  }
  at::Tensor send_back(const at::Tensor& g, int64_t slots) const {
    const at::Tensor returned_M = at::empty({order_M.numel()}, g.options());
    throw_if_error(group.all_to_all(g.contiguous(), from, returned_M, to).wait());
    return at::zeros({slots}, g.options()).index_add_(0, order_M, returned_M);
  }

  Communicator& group;
  const at::Tensor order_M;             // which of the chunks' slots, one chunk after the other, are sent
  const std::vector<int64_t> to, from;  // weights, each rank
};

class WeightsOfArrived : public torch::autograd::Function<WeightsOfArrived> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weights_N,
                            const std::shared_ptr<const WeightExchange>& exchange) {
    context->saved_data["exchange"] = hold(exchange);
    context->saved_data["slots"] = weights_N.numel();
    return exchange->send(weights_N);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto exchange = held<const WeightExchange>(context->saved_data["exchange"]);
    return {exchange->send_back(gradients[0], context->saved_data["slots"].toInt()), at::Tensor()};
  }
};

at::Tensor indices(const std::vector<int64_t>& values, c10::Device device) {
  return at::tensor(values, at::kLong).to(device);
}

}  // namespace

std::vector<at::Tensor> weights_of_arrived(Communicator& group, const std::vector<at::Tensor>& weights,
                                           const std::vector<std::shared_ptr<const DomainExchange>>& chunks) {
  const size_t ranks = group.size();
  std::vector<int64_t> to(ranks), from(ranks), order;
  std::vector<std::vector<int64_t>> places(chunks.size());  // of each chunk's slots among all that arrive
  std::vector<size_t> sent(chunks.size());
  int64_t arrived = 0;
  for (size_t r = 0; r < ranks; ++r) {
    int64_t first = 0;  // slot of the chunk among all chunks'
    for (size_t i = 0; i < chunks.size(); ++i) {
      const Outgoing& outgoing = chunks[i]->outgoing();
      for (int64_t left = outgoing.slots[r]; left > 0; --left) order.push_back(first + outgoing.slot_order[sent[i]++]);
      for (int64_t left = chunks[i]->slots_from()[r]; left > 0; --left) places[i].push_back(arrived++);
      to[r] += outgoing.slots[r];
      from[r] += chunks[i]->slots_from()[r];
      first += outgoing.slots_of_tokens;
    }
  }
  const c10::Device device = weights.front().device();
  const auto exchange =
      std::make_shared<const WeightExchange>(group, indices(order, device), std::move(to), std::move(from));
  const at::Tensor all = WeightsOfArrived::apply(at::cat(weights), exchange);
  if (chunks.size() == 1) return {all};
  std::vector<at::Tensor> arrived_weights;
  for (const std::vector<int64_t>& place : places)
    arrived_weights.push_back(all.index_select(0, indices(place, device)));
  return arrived_weights;
}

}  // namespace switchyard
