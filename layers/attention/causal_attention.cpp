#include "layers/attention/causal_attention.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/attention/causal_attention_device.h"
#include "runtime/base/check.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

// What the backward reads beside the inputs: the outputs, log Σ exp of every query's scores, and what a device's kernel
// keeps of its own.
struct Saved {
  at::Tensor out_TY, log_sums_HT, state;
};

Saved attend(const at::Tensor& qkv_TX, const std::vector<int64_t>& piece_starts, HeadCounts heads) {
  const int64_t rows = qkv_TX.size(0);
  Saved saved{at::empty({rows, heads.query * heads.width}, qkv_TX.options()),
              at::empty({heads.query, rows}, qkv_TX.options().dtype(accumulate_dtype(qkv_TX.scalar_type()))),
              {}};
  if (qkv_TX.is_cuda()) {
    causal_attention_on_device::forward(qkv_TX, piece_starts, heads, saved.out_TY, saved.log_sums_HT, saved.state);
  } else {
    causal_attention_kernel::forward(qkv_TX, piece_starts, heads, saved.out_TY, saved.log_sums_HT);
  }
  return saved;
}

struct CausalAttention : torch::autograd::Function<CausalAttention> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& qkv_TX,
                            const std::vector<int64_t>& piece_starts, HeadCounts heads) {
    const Saved saved = attend(qkv_TX, piece_starts, heads);
    ctx->save_for_backward({qkv_TX, saved.out_TY, saved.log_sums_HT, saved.state});
    ctx->saved_data["piece_starts"] = piece_starts;
    ctx->saved_data["heads"] = std::vector<int64_t>{heads.query, heads.key_value, heads.width};
    return saved.out_TY;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const auto counts = ctx->saved_data["heads"].toIntVector();
    const std::vector<int64_t> piece_starts = ctx->saved_data["piece_starts"].toIntVector();
    const HeadCounts heads{counts[0], counts[1], counts[2]};
    const at::Tensor g_TY = gradients[0].contiguous(), dqkv_TX = at::empty_like(saved[0]);
    if (g_TY.is_cuda()) {
      causal_attention_on_device::backward(g_TY, saved[0], piece_starts, heads, saved[1], saved[2], saved[3], dqkv_TX);
    } else {
      causal_attention_kernel::backward(g_TY, saved[0], piece_starts, heads, saved[1], saved[2], dqkv_TX);
    }
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
