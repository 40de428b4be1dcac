#include "layers/feed_forward/feed_forward.h"

#include "layers/ops/linear.h"
#include "layers/ops/recompute.h"
#include "parallel/tensor/rows.h"

namespace switchyard {

FeedForward::FeedForward(const std::string& name, int64_t width, int64_t hidden, Activation activation,
                         const BuildContext& context)
    : mesh_(context.mesh), activation_(activation), recompute_(context.recompute_activations) {
  const auto [begin, end] = cut(hidden, mesh_.size(Axis::kTensor), mesh_.index(Axis::kTensor));
  const int64_t local = end - begin;
  const Box rows{{begin, 0}, {local, width}};
  const Box columns{{0, begin}, {width, local}};
  const AxisSet data{Axis::kData};

  std::vector<Slice> up;
  if (activation == Activation::kSwiglu) {
    up.push_back({.spec = {name + ".gate", {hidden, width}, rows, data, data}, .scale = context.init_scale});
  }
  up.push_back({.spec = {name + ".up", {hidden, width}, rows, data, data},
                .offset = static_cast<int64_t>(up.size()) * local * width,
                .scale = context.init_scale});
  const int64_t projections = static_cast<int64_t>(up.size());
  up_ = std::make_unique<Parameter>(std::vector<int64_t>{projections * local, width}, context.options(), std::move(up));

  Slice down{.spec = {name + ".down", {width, hidden}, columns, data, data}, .scale = context.residual_init_scale};
  down_ = std::make_unique<Parameter>(std::vector<int64_t>{width, local}, context.options(), std::vector<Slice>{down});
}

at::Tensor FeedForward::forward(const at::Tensor& x_tD, int64_t rows) {
  Communicator& tensor = mesh_.group({Axis::kTensor}, Purpose::kLayer);
  const std::vector<int64_t> rows_per_rank = cut_sizes(rows, tensor.size());
  const at::Tensor x_TD = gather_rows(x_tD, rows_per_rank, tensor);
  const auto run = [this](const std::vector<at::Tensor>& inputs) -> std::vector<at::Tensor> {
    return {linear(activate(activation_, linear(inputs.front(), *up_)), *down_)};
  };
  const at::Tensor y_TD = (recompute_ ? recompute(run, {x_TD}) : run({x_TD})).front();
  return reduce_scatter_rows(y_TD, rows_per_rank, tensor);
}

}  // namespace switchyard
