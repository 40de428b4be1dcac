#include "layers/ops/rope.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "runtime/base/check.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

// Whether nobody else can see the tensor, so that it may be overwritten.
bool exclusive(const at::Tensor& x) {
  return x.is_contiguous() && x.use_count() == 1 && x.storage().use_count() == 1;
}

struct Rope : torch::autograd::Function<Rope> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, at::Tensor x_TX, const at::Tensor& positions_T,
                            const at::Tensor& table_PC, int64_t heads) {
    rope_kernel::turn(x_TX, positions_T, table_PC, heads, false);
    ctx->mark_dirty({x_TX});
    ctx->save_for_backward({positions_T, table_PC});
    ctx->saved_data["heads"] = heads;
    return x_TX;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = ctx->get_saved_variables();
    at::Tensor dx_TX = exclusive(gradients[0]) ? gradients[0] : gradients[0].clone(at::MemoryFormat::Contiguous);
    rope_kernel::turn(dx_TX, saved[0], saved[1], ctx->saved_data["heads"].toInt(), true);
    return {dx_TX, {}, {}, {}};
  }
};

}  // namespace

at::Tensor rope(at::Tensor x_TX, const at::Tensor& positions_T, int64_t heads, int64_t head_width, double theta) {
  SY_CHECK(x_TX.is_contiguous());
  SY_CHECK_EQ(head_width % 2, 0);
  SY_CHECK_LE(heads * head_width, x_TX.size(1));
  SY_CHECK_EQ(positions_T.numel(), x_TX.size(0));
  const int64_t positions = positions_T.numel() == 0 ? 0 : positions_T.max().item<int64_t>() + 1;
  const at::Tensor table_PC = rope_kernel::table(positions, head_width, theta, accumulate_dtype(x_TX.scalar_type()));
  return Rope::apply(std::move(x_TX), positions_T, table_PC, heads);
}

}  // namespace switchyard
