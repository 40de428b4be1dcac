#include "launch/train/fit_chunks.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "launch/trace/listener.h"
#include "layers/ops/activation.h"
#include "layers/ops/matmul.h"
#include "parallel/dispatch/expert_draw.h"
#include "parallel/dispatch/make_dispatcher.h"
#include "parallel/dispatch/trial.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"
#include "runtime/device/device.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

constexpr double kShares[] = {1.0 / 16, 1.0 / 4, 1.0};

// A layer's forward on this rank, without its router and its activations.
class Forward {
 public:
  Forward(const RunConfig& config, const Mesh& mesh, DispatcherKind kind, c10::Device device)
      : moe_(config.model.moe),
        mesh_(mesh),
        rows_(at::dtype(compute_dtype(config.train.compute_precision())).device(device)),
        dispatcher_(make_dispatcher(kind, Placement::contiguous(moe_.experts, mesh.size(Axis::kExpert)), mesh)) {
    const int64_t width = config.model.width, sharers = mesh.size(Axis::kExpertTensor);
    const int64_t expert_width = (moe_.expert_width + sharers - 1) / sharers;
    up_PD_ = at::ones({pre_activation_width(activation_from_name(moe_.activation), expert_width), width}, rows_);
    down_DF_ = at::ones({width, expert_width}, rows_);
  }

  // Of so many tokens of this rank: milliseconds that it waits for the wire, one way, and all else.
  std::vector<double> time(int64_t tokens) const {
    const auto seed = static_cast<uint64_t>(mesh_.world().rank());
    const Routing routing =
        routing_to(draw_experts(tokens, moe_.experts, moe_.experts_per_token, /*skew=*/0, seed), rows_);
    const at::Tensor x_TD = at::ones({tokens, down_DF_.size(0)}, rows_);
    const auto plan = dispatcher_->plan({&routing, 1}).front();
    Recorder recorder;
    recorder.record_spans(true);
    std::optional<Listener> listener(std::in_place, recorder, make_stream_clock(rows_.device()));
    const int64_t begin_ns = Recorder::now();
    const Dispatched sent = dispatcher_->dispatch(x_TD, plan);
    dispatcher_->combine(compute(sent), plan);
    synchronise(rows_.device());
    const int64_t end_ns = Recorder::now();
    listener.reset();
    int64_t waited_ns = 0;
    for (const Span& span : recorder.take_spans()) {
      if (span.name == "wait") waited_ns += span.end_ns - span.begin_ns;
    }
    return {static_cast<double>(waited_ns) / 2e6, static_cast<double>(end_ns - begin_ns - waited_ns) / 1e6};
  }

 private:
  at::Tensor compute(const Dispatched& sent) const {
    const at::Tensor& x_RD = sent.rows_RD;
    const int64_t rows = x_RD.size(0);
    // Where experts put what is to be read by other ranks.
    const at::Tensor y_RD =
        mesh_.shared_memory() ? mesh_.shared_memory()->allocate(rows, x_RD.size(1), rows_) : at::empty_like(x_RD);
    const at::Tensor h_RP = at::empty({rows, up_PD_.size(0)}, rows_);
    const at::Tensor a_RF = at::ones({rows, down_DF_.size(1)}, rows_);
    int64_t first = 0;
    for (const int64_t count : sent.counts) {
      const auto of_expert = [&](const at::Tensor& tensor) { return tensor.narrow(0, first, count); };
      if (count > 0) {
        matmul(of_expert(h_RP), of_expert(x_RD), up_PD_, {.transpose_b = true});
        matmul(of_expert(y_RD), of_expert(a_RF), down_DF_, {.transpose_b = true});
      }
      first += count;
    }
    return y_RD;
  }

  const MoeConfig& moe_;
  const Mesh& mesh_;
  const at::TensorOptions rows_;
  const std::unique_ptr<Dispatcher> dispatcher_;
  at::Tensor up_PD_, down_DF_;
};

// Of times of shares of the rows, which stand for bytes.
AlphaBeta fit(const std::vector<TimedTransfer>& measured) {
  const std::optional<AlphaBeta> fitted = fit_alpha_beta(measured);
  SY_CHECK(fitted.has_value());
  return *fitted;
}

}  // namespace

absl::StatusOr<std::optional<ChunkModel>> fit_chunks(const RunConfig& config, const Mesh& mesh, DispatcherKind kind,
                                                     c10::Device device) try {
  // Rows that a rank puts in place by itself are work that nothing hides.
  const bool all_near = kind != DispatcherKind::kDeduplicated && mesh.shared_memory() &&
                        mesh.node_group().size() == mesh.group_size({Axis::kExpert, Axis::kExpertTensor});
  SY_ASSIGN_OR_RETURN(const double ranks_near, reduce_number(mesh.world(), all_near ? 1 : 0, ReduceOp::kSum));
  if (ranks_near == mesh.world().size()) return std::nullopt;
  const at::NoGradGuard no_gradients;
  const Forward forward(config, mesh, kind, device);
  const int64_t tokens = config.part_tokens() / (mesh.size(Axis::kData) * mesh.size(Axis::kTensor));
  std::vector<TimedTransfer> wire, compute;
  for (const double share : kShares) {
    const auto some = std::max<int64_t>(1, static_cast<int64_t>(share * static_cast<double>(tokens)));
    SY_ASSIGN_OR_RETURN(const std::vector<double> ms,
                        try_out([&] { return forward.time(some); }, device, mesh.world()));
    constexpr double kLeastMs = 1e-6;  // a wire that nobody waited for: the fit takes no 0
    wire.push_back({.bytes = share, .time = std::max(kLeastMs, ms[0])});
    compute.push_back({.bytes = share, .time = std::max(kLeastMs, ms[1])});
  }
  return ChunkModel{.wire = fit(wire), .compute = fit(compute), .tokens = config.part_tokens()};
} catch (const StatusError& failure) {
  return failure.status();
}

}  // namespace switchyard
