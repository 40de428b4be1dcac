#include "layers/ops/embedding.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parallel/parameter/borrow.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

struct Embedding : torch::autograd::Function<Embedding> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& tokens_T,
                            const at::Tensor& weight_VD, Parameter* weight, int64_t vocab_begin) {
    ctx->save_for_backward({tokens_T});
    ctx->saved_data["weight"] = borrow(*weight);
    ctx->saved_data["vocab_begin"] = vocab_begin;
    return embedding_kernel::forward(tokens_T, weight_VD, vocab_begin);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    auto& weight = borrowed<Parameter>(ctx->saved_data["weight"]);
    embedding_kernel::backward(gradients[0].contiguous(), ctx->get_saved_variables()[0],
                               ctx->saved_data["vocab_begin"].toInt(), weight.gradient());
    weight.accumulated();
    return {{}, {}, {}, {}};
  }
};

}  // namespace

at::Tensor embedding(const at::Tensor& tokens_T, Parameter& weight_VD, int64_t vocab_begin) {
  SY_CHECK_EQ(weight_VD.value().dim(), 2);
  SY_CHECK(tokens_T.is_contiguous());
  if (at::GradMode::is_enabled()) weight_VD.recorded();
  return Embedding::apply(tokens_T, weight_VD.value(), &weight_VD, vocab_begin);
}

}  // namespace switchyard
