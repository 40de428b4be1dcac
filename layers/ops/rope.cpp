#include "layers/ops/rope.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/ops/rope_cuda.h"
#include "runtime/base/check.h"
#include "runtime/device/cuda.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

// Whether nobody else can see the tensor, so that it may be overwritten.
bool exclusive(const at::Tensor& x) {
  return x.is_contiguous() && x.use_count() == 1 && x.storage().use_count() == 1;
}

// What turning needs beside the rows. On a device angles are computed where they are used, so that the host need not
// know the largest position.
struct Angles {
  at::Tensor positions_T;
  at::Tensor table_PC;  // undefined on a device
  int64_t heads;
  int64_t head_width;
  double theta;
};

void turn(const at::Tensor& x_TX, const Angles& angles, bool inverse) {
  if (!x_TX.is_cuda()) return rope_kernel::turn(x_TX, angles.positions_T, angles.table_PC, angles.heads, inverse);
  rope_turn_cuda(element_of(x_TX.scalar_type()), x_TX.size(0), x_TX.size(1), angles.heads, angles.head_width,
                 angles.theta, inverse, x_TX.data_ptr(), angles.positions_T.const_data_ptr<int64_t>(),
                 current_cuda_stream());
}

struct Rope : torch::autograd::Function<Rope> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, at::Tensor x_TX, const Angles& angles) {
    turn(x_TX, angles, false);
    ctx->mark_dirty({x_TX});
    ctx->save_for_backward({angles.positions_T, angles.table_PC});
    ctx->saved_data["heads"] = angles.heads;
    ctx->saved_data["head_width"] = angles.head_width;
    ctx->saved_data["theta"] = angles.theta;
    return x_TX;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = ctx->get_saved_variables();
    at::Tensor dx_TX = exclusive(gradients[0]) ? gradients[0] : gradients[0].clone(at::MemoryFormat::Contiguous);
    turn(dx_TX,
         {saved[0], saved[1], ctx->saved_data["heads"].toInt(), ctx->saved_data["head_width"].toInt(),
          ctx->saved_data["theta"].toDouble()},
         true);
    return {dx_TX, {}};
  }
};

// As far as the positions go.
at::Tensor host_table(const at::Tensor& positions_T, int64_t head_width, double theta, at::ScalarType dtype) {
  const int64_t positions = positions_T.numel() == 0 ? 0 : positions_T.max().item<int64_t>() + 1;
  return rope_kernel::table(positions, head_width, theta, dtype);
}

}  // namespace

at::Tensor rope(at::Tensor x_TX, const at::Tensor& positions_T, int64_t heads, int64_t head_width, double theta) {
  SY_CHECK(x_TX.is_contiguous());
  SY_CHECK_EQ(head_width % 2, 0);
  SY_CHECK_LE(heads * head_width, x_TX.size(1));
  SY_CHECK_EQ(positions_T.numel(), x_TX.size(0));
  Angles angles{positions_T, {}, heads, head_width, theta};
  if (!x_TX.is_cuda()) {
    angles.table_PC = host_table(positions_T, head_width, theta, accumulate_dtype(x_TX.scalar_type()));
  }
  return Rope::apply(std::move(x_TX), angles);
}

}  // namespace switchyard
