#include "layers/ops/recompute.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parallel/parameter/borrow.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

struct Recompute : torch::autograd::Function<Recompute> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* ctx, at::TensorList inputs,
                                                const std::shared_ptr<const Block>& block) {
    ctx->save_for_backward(inputs.vec());
    ctx->saved_data["block"] = hold(block);
    ctx->set_materialize_grads(false);
    std::vector<at::Tensor> detached;
    for (const at::Tensor& input : inputs) detached.push_back(input.detach());
    return (*block)(detached);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    const auto block = held<const Block>(ctx->saved_data["block"]);
    const std::vector<at::Tensor> inputs = ctx->get_saved_variables();
    std::vector<at::Tensor> leaves;
    for (const at::Tensor& input : inputs) leaves.push_back(input.detach().set_requires_grad(input.requires_grad()));
    {
      const at::AutoGradMode with_gradients(true);
      const std::vector<at::Tensor> outputs = (*block)(leaves);
      SY_CHECK_EQ(outputs.size(), gradients.size());
      torch::autograd::variable_list used, used_gradients;
      for (size_t i = 0; i < outputs.size(); ++i) {
        if (!gradients[i].defined() || !outputs[i].requires_grad()) continue;
        used.push_back(outputs[i]);
        used_gradients.push_back(gradients[i]);
      }
      torch::autograd::backward(used, used_gradients);
    }
    torch::autograd::variable_list result;
    for (const at::Tensor& leaf : leaves) result.push_back(leaf.grad());
    result.emplace_back();  // the block
    return result;
  }
};

}  // namespace

std::vector<at::Tensor> recompute(Block block, const std::vector<at::Tensor>& inputs) {
  if (!at::GradMode::is_enabled()) return block(inputs);
  SY_CHECK(std::any_of(inputs.begin(), inputs.end(), [](const at::Tensor& x) { return x.requires_grad(); }));
  return Recompute::apply(at::TensorList(inputs), std::make_shared<const Block>(std::move(block)));
}

}  // namespace switchyard
