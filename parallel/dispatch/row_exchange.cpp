#include "parallel/dispatch/row_exchange.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using PlanPointer = std::shared_ptr<const RowExchange>;

// What autograd's contexts can carry beside tensors.
struct HeldPlan : torch::CustomClassHolder {
  explicit HeldPlan(PlanPointer plan) : plan(std::move(plan)) {}
  PlanPointer plan;
};

at::Tensor send_rows(const at::Tensor& x_TD, const RowExchange& plan) {
  const at::Tensor x = x_TD.contiguous();
  at::Tensor wire_WD = at::empty({plan.wire_rows, x.size(1)}, x.options());
  at::Tensor rows_RD = at::empty({plan.rows, x.size(1)}, x.options());
  spread_rows(x, plan.table, wire_WD, rows_RD);
  plan.deliver(wire_WD, rows_RD);
  return rows_RD;
}

at::Tensor sum_returned(const at::Tensor& y_RD, const RowExchange& plan) {
  SY_CHECK_EQ(y_RD.size(0), plan.rows);
  at::Tensor y_TD = at::empty({plan.table.tokens(), y_RD.size(1)}, y_RD.options());
  sum_rows(plan.collect(y_RD.contiguous()), plan.table, at::Tensor(), y_TD);
  return y_TD;
}

class DispatchRows : public torch::autograd::Function<DispatchRows> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_TD, const PlanPointer& plan) {
    context->saved_data["plan"] = hold(plan);
    return send_rows(x_TD, *plan);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {sum_returned(gradients[0], *held(context->saved_data["plan"])), at::Tensor()};
  }
};

class ReturnRows : public torch::autograd::Function<ReturnRows> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& y_RD, const PlanPointer& plan) {
    context->saved_data["plan"] = hold(plan);
    return sum_returned(y_RD, *plan);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {send_rows(gradients[0], *held(context->saved_data["plan"])), at::Tensor()};
  }
};

class CombineRows : public torch::autograd::Function<CombineRows> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& y_RD, const at::Tensor& weights_N,
                            const PlanPointer& plan) {
    SY_CHECK_EQ(y_RD.size(0), plan->rows);
    const at::Tensor weights = weights_N.contiguous();
    const at::Tensor returned_SD = plan->collect(y_RD.contiguous());
    at::Tensor y_TD = at::empty({plan->table.tokens(), y_RD.size(1)}, y_RD.options());
    sum_rows(returned_SD, plan->table, weights, y_TD);
    context->save_for_backward({returned_SD, weights});
    context->saved_data["plan"] = hold(plan);
    return y_TD;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const PlanPointer plan = held(context->saved_data["plan"]);
    const variable_list saved = context->get_saved_variables();
    const at::Tensor g_TD = gradients[0].contiguous();
    at::Tensor wire_WD = at::empty({plan->wire_rows, g_TD.size(1)}, g_TD.options());
    at::Tensor g_RD = at::empty({plan->rows, g_TD.size(1)}, g_TD.options());
    at::Tensor dweights_N = at::empty_like(saved[1]);
    spread_weighted_rows(g_TD, saved[1], saved[0], plan->table, wire_WD, g_RD, dweights_N);
    plan->deliver(wire_WD, g_RD);
    return {g_RD, dweights_N, at::Tensor()};
  }
};

}  // namespace

c10::IValue hold(PlanPointer plan) {
  return c10::IValue::make_capsule(c10::make_intrusive<HeldPlan>(std::move(plan)));
}

PlanPointer held(const c10::IValue& value) {
  return static_cast<HeldPlan*>(value.toCapsule().get())->plan;
}

at::Tensor dispatch_rows(const at::Tensor& x_TD, const PlanPointer& plan) {
  return DispatchRows::apply(x_TD, plan);
}

at::Tensor return_rows(const at::Tensor& y_RD, const PlanPointer& plan) {
  return ReturnRows::apply(y_RD, plan);
}

at::Tensor combine_rows(const at::Tensor& y_RD, const at::Tensor& weights_N, const PlanPointer& plan) {
  return CombineRows::apply(y_RD, weights_N, plan);
}

}  // namespace switchyard
