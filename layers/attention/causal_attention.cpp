#include "layers/attention/causal_attention.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "runtime/base/check.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

struct CausalAttention : torch::autograd::Function<CausalAttention> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& qkv_TX,
                            const std::vector<int64_t>& piece_starts, HeadCounts heads) {
    const int64_t rows = qkv_TX.size(0);
    const at::Tensor out_TY = at::empty({rows, heads.query * heads.width}, qkv_TX.options());
    const at::Tensor log_sums_HT =
        at::empty({heads.query, rows}, qkv_TX.options().dtype(accumulate_dtype(qkv_TX.scalar_type())));
    causal_attention_kernel::forward(qkv_TX, piece_starts, heads, out_TY, log_sums_HT);
    ctx->save_for_backward({qkv_TX, out_TY, log_sums_HT});
    ctx->saved_data["piece_starts"] = piece_starts;
    ctx->saved_data["heads"] = std::vector<int64_t>{heads.query, heads.key_value, heads.width};
    return out_TY;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const auto counts = ctx->saved_data["heads"].toIntVector();
    const at::Tensor dqkv_TX = at::empty_like(saved[0]);
    causal_attention_kernel::backward(gradients[0].contiguous(), saved[0],
                                      ctx->saved_data["piece_starts"].toIntVector(), {counts[0], counts[1], counts[2]},
                                      saved[1], saved[2], dqkv_TX);
    return {dqkv_TX, {}, {}};
  }
};

}  // namespace

at::Tensor causal_attention(const at::Tensor& qkv_TX, const std::vector<int64_t>& piece_starts, HeadCounts heads) {
  SY_CHECK(qkv_TX.is_contiguous());
  SY_CHECK_EQ(qkv_TX.size(1), heads.columns());
  SY_CHECK_EQ(heads.query % heads.key_value, 0);
  SY_CHECK(!piece_starts.empty());
  SY_CHECK_EQ(piece_starts.front(), 0);
  SY_CHECK_EQ(piece_starts.back(), qkv_TX.size(0));
  return CausalAttention::apply(qkv_TX, piece_starts, heads);
}

}  // namespace switchyard
