#include "parallel/dispatch/row_exchange.h"

#include <numeric>
#include <utility>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parallel/parameter/borrow.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {

RowExchange::Landing RowExchange::land(int64_t width, const at::TensorOptions& options) const {
  const at::Tensor wire_WD = at::empty({wire_rows, width}, options);
  return {.table = table, .places_XD = wire_WD, .wire_WD = wire_WD, .rows_RD = at::empty({rows, width}, options)};
}

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// In the autograd functions below what is under way passes between the nodes of the graph: rows to be filled as the
// tensor that the next node gets, rows that return as the plan's; a gradient that stands for the latter is only a
// token.

void finish(RowExchange::Arrival& arrival) {
  SY_CHECK(arrival != nullptr);
  std::exchange(arrival, nullptr)();
}

RowExchange::Returned end_collection(const RowExchange& plan) {
  finish(plan.collecting);
  return std::exchange(plan.returning, {});
}

at::Tensor sum_returned(const RowExchange& plan, const RowExchange::Returned& returned, const at::Tensor& weights_N) {
  at::Tensor y_TD = at::empty({plan.table.tokens(), returned.rows_XD.size(1)}, returned.rows_XD.options());
  sum_rows(returned.rows_XD, returned.table, weights_N, y_TD);
  plan.keep_lent(returned);
  return y_TD;
}

// Rows on their way, in `rows_RD` once delivering has ended.
void begin_delivery(const RowExchange& plan, const RowExchange::Landing& landing) {
  SY_CHECK(plan.delivering == nullptr);
  plan.delivering = plan.deliver(landing.wire_WD, landing.rows_RD.detach());  // the graph of rows_RD holds the plan
}

at::Tensor spread(const at::Tensor& x_TD, const RowExchange& plan) {
  const at::Tensor x = x_TD.contiguous();
  const RowExchange::Landing landing = plan.land(x.size(1), x.options());
  spread_rows(x, landing.table, landing.places_XD, landing.rows_RD);
  begin_delivery(plan, landing);
  return landing.rows_RD;
}

class BeginDispatch : public torch::autograd::Function<BeginDispatch> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_TD, const RowExchangePointer& plan) {
    context->saved_data["plan"] = hold(plan);
    return spread(x_TD, *plan);
  }
  static variable_list backward(AutogradContext* context, const variable_list& /*token*/) {
    const RowExchangePointer plan = held<const RowExchange>(context->saved_data["plan"]);
    return {sum_returned(*plan, end_collection(*plan), at::Tensor()), at::Tensor()};
  }
};

void begin_collection(const RowExchange& plan, const at::Tensor& rows_RD) {
  SY_CHECK(plan.collecting == nullptr);
  SY_CHECK_EQ(rows_RD.size(0), plan.rows);
  // What is lent is not to hold the graph that made it.
  plan.collecting = plan.collect(rows_RD.detach().contiguous(), plan.returning);
}

class EndDispatch : public torch::autograd::Function<EndDispatch> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& rows_RD, const RowExchangePointer& plan) {
    context->saved_data["plan"] = hold(plan);
    finish(plan->delivering);
    return rows_RD;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    begin_collection(*held<const RowExchange>(context->saved_data["plan"]), gradients[0]);
    return {gradients[0], at::Tensor()};
  }
};

class BeginCombine : public torch::autograd::Function<BeginCombine> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& y_RD, const RowExchangePointer& plan) {
    context->saved_data["plan"] = hold(plan);
    begin_collection(*plan, y_RD);
    return y_RD;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    finish(held<const RowExchange>(context->saved_data["plan"])->delivering);
    return {gradients[0], at::Tensor()};
  }
};

class EndCombine : public torch::autograd::Function<EndCombine> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& /*token_RD*/, const at::Tensor& weights_N,
                            const RowExchangePointer& plan) {
    const at::Tensor weights = weights_N.contiguous();
    const RowExchange::Returned returned = end_collection(*plan);
    context->save_for_backward(
        {weights, returned.rows_XD, returned.table.returned, returned.lent_RD, returned.arrived_WD});
    context->saved_data["plan"] = hold(plan);
    return sum_returned(*plan, returned, weights);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const RowExchangePointer plan = held<const RowExchange>(context->saved_data["plan"]);
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &weights = saved[0], &returned_XD = saved[1];
    const at::Tensor g_TD = gradients[0].contiguous();
    RowExchange::Landing landing = plan->land(g_TD.size(1), g_TD.options());
    landing.table.returned = saved[2];
    at::Tensor dweights_N = at::empty_like(weights);
    spread_weighted_rows(g_TD, weights, returned_XD, landing.table, landing.places_XD, landing.rows_RD, dweights_N);
    begin_delivery(*plan, landing);
    // It ends when all ranks have come to it, and none reads any more what this one lent.
    plan->delivering = [delivered = std::move(plan->delivering), lent_RD = saved[3]] { delivered(); };
    if (!context->needs_input_grad(0)) finish(plan->delivering);  // no BeginCombine will
    return {landing.rows_RD, dweights_N, at::Tensor()};
  }
};

class EndPlainCombine : public torch::autograd::Function<EndPlainCombine> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& /*token_RD*/, const RowExchangePointer& plan) {
    context->saved_data["plan"] = hold(plan);
    return sum_returned(*plan, end_collection(*plan), at::Tensor());
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {spread(gradients[0], *held<const RowExchange>(context->saved_data["plan"])), at::Tensor()};
  }
};

}  // namespace

at::Tensor begin_dispatch_rows(const at::Tensor& x_TD, const RowExchangePointer& plan) {
  return BeginDispatch::apply(x_TD, plan);
}

at::Tensor end_dispatch_rows(const at::Tensor& begun_RD, const RowExchangePointer& plan) {
  return EndDispatch::apply(begun_RD, plan);
}

at::Tensor begin_combine_rows(const at::Tensor& y_RD, const RowExchangePointer& plan) {
  return BeginCombine::apply(y_RD, plan);
}

at::Tensor end_combine_rows(const at::Tensor& begun_RD, const RowExchangePointer& plan) {
  return plan->weights_N.defined() ? EndCombine::apply(begun_RD, plan->weights_N, plan)
                                   : EndPlainCombine::apply(begun_RD, plan);
}

int64_t sum_of(std::span<const int64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

std::vector<int64_t> exchange_numbers(Communicator& ranks, const std::vector<int64_t>& outgoing,
                                      const std::vector<int64_t>& to, const std::vector<int64_t>& from) {
  const at::Tensor send = at::tensor(outgoing, at::kLong), recv = at::empty({sum_of(from)}, at::kLong);
  throw_if_error(ranks.all_to_all(send, to, recv, from).wait());
  const int64_t* data = recv.const_data_ptr<int64_t>();
  return {data, data + recv.numel()};
}

RowExchange::Arrival ends(Work work) {
  return [work = std::move(work)]() mutable { throw_if_error(work.wait()); };
}

}  // namespace switchyard
