#include "layers/ops/embedding.h"

#include <optional>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/ops/embedding_cuda.h"
#include "parallel/parameter/borrow.h"
#include "runtime/base/check.h"
#include "runtime/device/cuda.h"

namespace switchyard {
namespace {

at::Tensor look_up(const at::Tensor& tokens_T, const at::Tensor& weight_VD, int64_t vocab_begin) {
  if (!weight_VD.is_cuda()) return embedding_kernel::forward(tokens_T, weight_VD, vocab_begin);
  const int64_t rows = tokens_T.numel(), width = weight_VD.size(1);
  at::Tensor out_TD = at::empty({rows, width}, weight_VD.options());
  embedding_forward_cuda(rows, width * weight_VD.element_size(), vocab_begin, weight_VD.size(0),
                         tokens_T.const_data_ptr<int64_t>(), weight_VD.const_data_ptr(), out_TD.data_ptr(),
                         current_cuda_stream());
  return out_TD;
}

void add_gradient(const at::Tensor& g_TD, const at::Tensor& tokens_T, int64_t vocab_begin,
                  const at::Tensor& dweight_VD) {
  if (!g_TD.is_cuda()) return embedding_kernel::backward(g_TD, tokens_T, vocab_begin, dweight_VD);
  const auto [sorted, order] = tokens_T.sort(std::optional<bool>(true));  // stable
  embedding_backward_cuda(element_of(g_TD.scalar_type()), tokens_T.numel(), g_TD.size(1), vocab_begin,
                          dweight_VD.size(0), sorted.const_data_ptr<int64_t>(), order.const_data_ptr<int64_t>(),
                          g_TD.const_data_ptr(), dweight_VD.data_ptr(), current_cuda_stream());
}

struct Embedding : torch::autograd::Function<Embedding> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& tokens_T,
                            const at::Tensor& weight_VD, Parameter* weight, int64_t vocab_begin) {
    ctx->save_for_backward({tokens_T});
    ctx->saved_data["weight"] = borrow(*weight);
    ctx->saved_data["vocab_begin"] = vocab_begin;
    return look_up(tokens_T, weight_VD, vocab_begin);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    auto& weight = borrowed<Parameter>(ctx->saved_data["weight"]);
    add_gradient(gradients[0].contiguous(), ctx->get_saved_variables()[0], ctx->saved_data["vocab_begin"].toInt(),
                 weight.gradient());
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
