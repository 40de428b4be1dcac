#include "parallel/tensor/rows.h"

#include <numeric>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parallel/parameter/borrow.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

using Rows = std::vector<int64_t>;

at::Tensor with_rows(const at::Tensor& x, int64_t rows) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape[0] = rows;
  return at::empty(shape, x.options());
}

int64_t total(const Rows& rows) {
  return std::accumulate(rows.begin(), rows.end(), int64_t{0});
}

at::Tensor gather(const at::Tensor& x, const Rows& rows, Communicator& comm) {
  SY_CHECK_EQ(x.size(0), rows[comm.rank()]);
  at::Tensor out = with_rows(x, total(rows));
  throw_if_error(comm.all_gather(x.contiguous(), out, rows).wait());
  return out;
}

at::Tensor reduce_scatter(const at::Tensor& x, const Rows& rows, Communicator& comm) {
  SY_CHECK_EQ(x.size(0), total(rows));
  at::Tensor out = with_rows(x, rows[comm.rank()]);
  throw_if_error(comm.reduce_scatter(x.contiguous(), rows, out).wait());
  return out;
}

template <auto kForward, auto kBackward>
struct MoveRows : torch::autograd::Function<MoveRows<kForward, kBackward>> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const Rows& rows,
                            Communicator* comm) {
    ctx->saved_data["rows"] = rows;
    ctx->saved_data["comm"] = borrow(*comm);
    return kForward(x, rows, *comm);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    auto& comm = borrowed<Communicator>(ctx->saved_data["comm"]);
    return {kBackward(gradients[0], ctx->saved_data["rows"].toIntVector(), comm), {}, {}};
  }
};

template <auto kForward, auto kBackward>
at::Tensor move_rows(const at::Tensor& x, const Rows& rows, Communicator& comm) {
  SY_CHECK_EQ(static_cast<int>(rows.size()), comm.size());
  if (comm.size() == 1) return x;
  return MoveRows<kForward, kBackward>::apply(x, rows, &comm);
}

}  // namespace

at::Tensor gather_rows(const at::Tensor& x_tD, const Rows& rows_per_rank, Communicator& comm) {
  return move_rows<gather, reduce_scatter>(x_tD, rows_per_rank, comm);
}

at::Tensor reduce_scatter_rows(const at::Tensor& x_TD, const Rows& rows_per_rank, Communicator& comm) {
  return move_rows<reduce_scatter, gather>(x_TD, rows_per_rank, comm);
}

}  // namespace switchyard
