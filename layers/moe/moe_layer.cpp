#include "layers/moe/moe_layer.h"

#include <ATen/ATen.h>

#include "layers/moe/router/gate.h"
#include "parallel/topology/box.h"
#include "runtime/base/check.h"
#include "runtime/numerics/precision.h"
#include "runtime/telemetry/in_span.h"

namespace switchyard {
namespace {

// Every expert computes `rows` rows, zeros after its own.
at::Tensor run_padded(Experts& experts, const at::Tensor& rows_RD, const std::vector<int64_t>& counts, int64_t rows) {
  std::vector<at::Tensor> places;
  for (size_t e = 0; e < counts.size(); ++e) {
    SY_CHECK_LE(counts[e], rows);
    const int64_t first = static_cast<int64_t>(e) * rows;
    places.push_back(at::arange(first, first + counts[e], rows_RD.options().dtype(at::kLong)));
  }
  if (places.empty()) return experts.forward(rows_RD, counts);
  const at::Tensor place_R = at::cat(places);
  const std::vector<int64_t> padded(counts.size(), rows);
  const at::Tensor zeros = at::zeros({static_cast<int64_t>(counts.size()) * rows, rows_RD.size(1)}, rows_RD.options());
  return experts.forward(zeros.index_copy(0, place_R, rows_RD), padded).index_select(0, place_R);
}

}  // namespace

MoeLayer::MoeLayer(std::unique_ptr<Router> router, std::unique_ptr<Dispatcher> dispatcher,
                   std::shared_ptr<Experts> experts, std::unique_ptr<FeedForward> shared,
                   std::unique_ptr<Parameter> shared_gate_1D, const Mesh& mesh)
    : router_(std::move(router)),
      dispatcher_(std::move(dispatcher)),
      experts_(std::move(experts)),
      shared_(std::move(shared)),
      shared_gate_(std::move(shared_gate_1D)),
      mesh_(mesh) {}

MoeOutput MoeLayer::forward(const at::Tensor& x_tD, const TokenContext& context) {
  RouterOutput routed = in_span("route", [&] { return router_->route(x_tD, context); });
  statistics_ = std::move(routed.statistics);
  choice_ = std::move(routed.choice);

  std::vector<Chunk> chunks = plan_chunks(x_tD, routed.routing, mesh_.dispatch_chunks(context.population));
  SY_CHECK(chunks.size() == 1 || routed.rows_per_expert == 0);
  for (Chunk& chunk : chunks) begin_dispatch(chunk);
  const Experts::Chunks together = chunks.size() > 1 ? begin_chunks(chunks) : Experts::Chunks();
  at::Tensor shared_tD;
  if (shared_) shared_tD = in_span("shared experts", [&] { return through_shared(x_tD, context); });
  for (Chunk& chunk : chunks) compute(chunk, routed.rows_per_expert, together);
  std::vector<at::Tensor> y;
  for (const Chunk& chunk : chunks) y.push_back(end_combine(chunk));
  at::Tensor y_tD = y.size() == 1 ? y.front() : at::cat(y);
  return {shared_ ? y_tD + shared_tD : y_tD, routed.auxiliary_loss};
}

std::vector<MoeLayer::Chunk> MoeLayer::plan_chunks(const at::Tensor& x_tD, const Routing& routing, int count) const {
  std::vector<Chunk> chunks;
  std::vector<Routing> routings;
  for (int i = 0; i < count; ++i) {
    const auto [begin, end] = cut(x_tD.size(0), count, i);
    routings.push_back(count == 1 ? routing : routing.of_tokens(begin, end));
    chunks.push_back(
        {.x_tD = count == 1 ? x_tD : x_tD.narrow(0, begin, end - begin), .plan = {}, .sent = {}, .returning = {}});
  }
  const auto plans = in_span("dispatch", [&] { return dispatcher_->plan(routings); });
  for (size_t i = 0; i < chunks.size(); ++i) chunks[i].plan = plans[i];
  return chunks;
}

void MoeLayer::begin_dispatch(Chunk& chunk) {
  chunk.sent = in_span("dispatch", [&] { return dispatcher_->begin_dispatch(chunk.x_tD, chunk.plan); });
}

Experts::Chunks MoeLayer::begin_chunks(std::vector<Chunk>& chunks) {
  std::vector<at::Tensor> begun;
  for (const Chunk& chunk : chunks) begun.push_back(chunk.sent.rows_RD);
  Experts::Chunks together = experts_->begin_chunks(begun);
  for (size_t i = 0; i < chunks.size(); ++i) chunks[i].sent.rows_RD = begun[i];
  return together;
}

void MoeLayer::compute(Chunk& chunk, int64_t rows_per_expert, const Experts::Chunks& together) {
  chunk.sent = in_span("dispatch", [&] { return dispatcher_->end_dispatch(chunk.sent); });
  const at::Tensor& rows_RD = chunk.sent.rows_RD;
  const std::vector<int64_t>& counts = chunk.sent.counts;
  const at::Tensor y_RD = in_span("experts", [&] {
    return rows_per_expert > 0 ? run_padded(*experts_, rows_RD, counts, rows_per_expert)
                               : experts_->forward(rows_RD, counts, together);
  });
  chunk.returning = in_span("combine", [&] { return dispatcher_->begin_combine(y_RD, chunk.plan); });
}

at::Tensor MoeLayer::end_combine(const Chunk& chunk) {
  return in_span("combine", [&] { return dispatcher_->end_combine(chunk.returning, chunk.plan); });
}

at::Tensor MoeLayer::through_shared(const at::Tensor& x_tD, const TokenContext& context) {
  SY_CHECK_LE(x_tD.size(0), context.data_rank_tokens);
  const at::Tensor shared_tD = shared_->forward(x_tD, context.data_rank_tokens);
  return shared_gate_ ? shared_tD * at::sigmoid(gate(x_tD, *shared_gate_)).to(shared_tD.scalar_type()) : shared_tD;
}

at::Tensor MoeLayer::outputs_of_all(const at::Tensor& x_tD, int64_t experts) {
  const at::NoGradGuard no_grad;
  const int64_t tokens = x_tD.size(0), slots = tokens * experts;
  const at::TensorOptions integers = x_tD.options().dtype(at::kLong);
  const at::Tensor experts_N = at::arange(experts, integers).repeat({tokens});
  const at::Tensor offsets = at::arange(0, slots + 1, experts, integers);
  const auto plan_with = [&](const at::Tensor& weights_N) {  // to all of them, and back by these weights
    const Routing all{.offsets = offsets, .experts = experts_N, .weights = weights_N};
    return dispatcher_->plan({&all, 1}).front();
  };
  const auto only = [&](int64_t e) { return experts_N.eq(e).to(accumulate_dtype(x_tD.scalar_type())); };
  const Dispatched sent = dispatcher_->dispatch(x_tD, plan_with(only(0)));
  const at::Tensor y_RD = experts_->forward(sent.rows_RD, sent.counts);
  std::vector<at::Tensor> outputs_tD;
  for (int64_t e = 0; e < experts; ++e) outputs_tD.push_back(dispatcher_->combine(y_RD, plan_with(only(e))));
  return at::stack(outputs_tD);
}

ParameterList MoeLayer::parameters() {
  ParameterList list = router_->parameters();
  const auto append = [&list](const ParameterList& more) { list.insert(list.end(), more.begin(), more.end()); };
  append(experts_->parameters());
  if (shared_) append(shared_->parameters());
  if (shared_gate_) list.push_back(shared_gate_.get());
  return list;
}

}  // namespace switchyard
