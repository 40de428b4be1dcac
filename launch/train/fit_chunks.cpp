#include "launch/train/fit_chunks.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

#include "layers/ops/activation.h"
#include "layers/ops/matmul.h"
#include "parallel/dispatch/trial.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

// A layer's rows on one rank, as many to every rank as from it.
struct Shape {
  int64_t rows, width, pre_width, expert_width, experts;
  at::TensorOptions options;
};

Shape shape_of(const RunConfig& config, const Mesh& mesh, c10::Device device) {
  const MoeConfig& moe = config.model.moe;
  const int64_t tokens = config.part_tokens() / (mesh.size(Axis::kData) * mesh.size(Axis::kTensor));
  const int64_t width = (moe.expert_width + mesh.size(Axis::kExpertTensor) - 1) / mesh.size(Axis::kExpertTensor);
  return {.rows = std::max<int64_t>(1, tokens * moe.experts_per_token * mesh.size(Axis::kExpertTensor)),
          .width = config.model.width,
          .pre_width = pre_activation_width(activation_from_name(moe.activation), width),
          .expert_width = width,
          .experts = std::max<int64_t>(1, moe.experts / mesh.size(Axis::kExpert)),
          .options = at::TensorOptions(compute_dtype(config.train.compute_precision())).device(device)};
}

// Milliseconds of work(share) on the slowest rank, fitted over shares of the rows, which stand for bytes.
template <typename Work>
absl::StatusOr<AlphaBeta> fit(const Mesh& mesh, const Work& work) {
  std::vector<TimedTransfer> measured;
  for (const double share : {1.0 / 16, 1.0 / 4, 1.0}) {
    SY_ASSIGN_OR_RETURN(const double ms, trial_ms([&] { return work(share); }, mesh.world()));
    measured.push_back({.bytes = share, .time = ms});
  }
  const std::optional<AlphaBeta> fitted = fit_alpha_beta(measured);
  SY_CHECK(fitted.has_value());
  return *fitted;
}

int64_t rows_of(double share, int64_t rows, int64_t divisor) {
  return std::max<int64_t>(1, static_cast<int64_t>(share * static_cast<double>(rows)) / divisor);
}

}  // namespace

absl::StatusOr<std::optional<ChunkModel>> fit_chunks(const RunConfig& config, const Mesh& mesh, DispatcherKind kind,
                                                     c10::Device device) {
  // Rows that a rank puts in place by itself are work that nothing hides.
  const bool all_near = kind != DispatcherKind::kDeduplicated && mesh.shared_memory() &&
                        mesh.node_group().size() == mesh.group_size({Axis::kExpert, Axis::kExpertTensor});
  SY_ASSIGN_OR_RETURN(const double ranks_near, reduce_number(mesh.world(), all_near ? 1 : 0, ReduceOp::kSum));
  if (ranks_near == mesh.world().size()) return std::nullopt;
  const Shape shape = shape_of(config, mesh, device);
  Communicator& group = mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch);
  const int64_t to_each = rows_of(1, shape.rows, group.size()), of_each = rows_of(1, shape.rows, shape.experts);
  const at::Tensor sent = at::ones({to_each * group.size(), shape.width}, shape.options),
                   received = at::ones_like(sent);
  const auto travel = [&](double share) {
    const std::vector<int64_t> rows(group.size(), rows_of(share, shape.rows, group.size()));
    const int64_t all = rows[0] * group.size();
    return group.all_to_all(sent.narrow(0, 0, all), rows, received.narrow(0, 0, all), rows).wait();
  };
  const at::Tensor up_PD = at::ones({shape.pre_width, shape.width}, shape.options);
  const at::Tensor down_DF = at::ones({shape.width, shape.expert_width}, shape.options);
  const at::Tensor x = at::ones({of_each, shape.width}, shape.options);
  const at::Tensor h = at::ones({of_each, shape.pre_width}, shape.options);
  const at::Tensor a = at::ones({of_each, shape.expert_width}, shape.options);
  const auto compute = [&](double share) {
    const int64_t rows = rows_of(share, shape.rows, shape.experts);
    const at::Tensor x_RD = x.narrow(0, 0, rows), h_RP = h.narrow(0, 0, rows), a_RF = a.narrow(0, 0, rows);
    for (int64_t e = 0; e < shape.experts; ++e) {
      matmul(h_RP, x_RD, up_PD, {.transpose_b = true});
      matmul(x_RD, a_RF, down_DF, {.transpose_b = true});
    }
    return absl::OkStatus();
  };
  SY_ASSIGN_OR_RETURN(const AlphaBeta wire, fit(mesh, travel));
  SY_ASSIGN_OR_RETURN(const AlphaBeta experts, fit(mesh, compute));
  return ChunkModel{.wire = wire, .compute = experts, .tokens = config.part_tokens()};
}

}  // namespace switchyard
