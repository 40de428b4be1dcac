#include "tests/parallel/dispatch/dispatch_block.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "parallel/dispatch/local.h"
#include "parallel/topology/box.h"
#include "tests/support/ranks.h"

namespace switchyard {

void PrintTo(const DispatchCase& c, std::ostream* out) {
  *out << c.name;
}

std::vector<DispatchCase> dispatch_cases() {
  return {{.name = "uniform"},
          {.name = "skewed", .skew = Skew::kSkewed},
          {.name = "one_expert", .skew = Skew::kOneExpert},
          {.name = "ragged", .skew = Skew::kSkewed, .ragged = true},
          {.name = "few_tokens", .tokens = 2},
          {.name = "no_tokens", .tokens = 0},
          {.name = "idle_rank", .idle_rank = true},
          {.name = "odd_experts", .experts = 5, .experts_per_token = 4},
          {.name = "fewer_experts_than_ranks", .experts = 2, .experts_per_token = 1},
          {.name = "one_expert_a_rank", .experts = 4, .experts_per_token = 4},
          {.name = "fp32", .dtype = at::kFloat, .skew = Skew::kSkewed},
          {.name = "bf16", .dtype = at::kBFloat16, .skew = Skew::kSkewed},
          {.name = "bf16_one_expert_a_rank", .dtype = at::kBFloat16, .experts = 4}};
}

GlobalBatch DispatchCase::batch() const {
  return GlobalBatch::make(tokens, kBlockWidth, experts, experts_per_token, skew, ragged, dtype);
}

std::pair<int64_t, int64_t> DispatchCase::share_of(int ranks, int rank) const {
  if (!idle_rank || ranks == 1) return cut(tokens, ranks, rank);
  return rank == 0 ? std::make_pair(int64_t{0}, int64_t{0}) : cut(tokens, ranks - 1, rank - 1);
}

at::Tensor DispatchCase::slots_of(const at::Tensor& whole_N, int64_t begin, int64_t end) const {
  const at::Tensor offsets = batch().routing.offsets;
  const int64_t first = offsets[begin].item<int64_t>();
  return whole_N.narrow(0, first, offsets[end].item<int64_t>() - first);
}

GlobalBatch with_few_bits(GlobalBatch batch) {
  const at::ScalarType dtype = batch.x_TD.scalar_type();
  batch.x_TD = batch.x_TD.to(at::kBFloat16).to(dtype);
  batch.g_TD = batch.g_TD.to(at::kBFloat16).to(dtype);
  return batch;
}

void expect_identity(Dispatcher& dispatcher, const GlobalBatch& share, int expert_tensor) {
  const at::Tensor slots_T = at::diff(share.routing.offsets);
  const at::Tensor weights_N = at::repeat_interleave((slots_T * expert_tensor).to(at::kDouble).reciprocal(), slots_T);
  Routing routing = share.routing;
  routing.weights = weights_N.to(share.routing.weights.dtype());
  const Dispatched sent = dispatcher.dispatch(share.x_TD, routing);
  const at::Tensor y = dispatcher.combine(sent.rows_RD, sent.plan);
  y.backward(share.g_TD);
  const at::Tensor routed = slots_T.gt(0).unsqueeze(1);  // a token without slots gives zeros
  EXPECT_TRUE(at::equal(y, share.x_TD * routed));
  EXPECT_TRUE(at::equal(share.x_TD.grad(), share.g_TD * routed));
}

namespace {

at::Tensor expert_weight(int64_t expert, int matrix, at::ScalarType dtype) {
  const int64_t rows = matrix == 0 ? kBlockWidth : kBlockHidden;
  const int64_t columns = matrix == 0 ? kBlockHidden : kBlockWidth;
  const at::Tensor index = at::arange(rows * columns, at::kDouble) + static_cast<double>(1000 * expert + 31 * matrix);
  return (at::sin(index * 1.7) * 0.3).view({rows, columns}).to(dtype);
}

}  // namespace

BlockResult run_block(Dispatcher& dispatcher, const GlobalBatch& share, const std::vector<int64_t>& experts, int parts,
                      int part) {
  BlockResult result;
  Dispatched sent = dispatcher.dispatch(share.x_TD, share.routing);
  EXPECT_EQ(sent.counts.size(), experts.size());
  const auto [begin, end] = cut(kBlockHidden, parts, part);
  // A rank without experts stays in the graph too, or it would miss the backward's collectives.
  std::vector<at::Tensor> outputs{sent.rows_RD.narrow(0, 0, 0)};
  std::map<int64_t, std::pair<at::Tensor, at::Tensor>> weights;
  int64_t row = 0;
  for (size_t i = 0; i < experts.size(); ++i) {
    const int64_t e = experts[i];
    const at::ScalarType dtype = share.x_TD.scalar_type();
    at::Tensor up = expert_weight(e, 0, dtype).narrow(1, begin, end - begin).contiguous().set_requires_grad(true);
    at::Tensor down = expert_weight(e, 1, dtype).narrow(0, begin, end - begin).contiguous().set_requires_grad(true);
    const at::Tensor rows = sent.rows_RD.narrow(0, row, sent.counts[i]);
    outputs.push_back(at::mm(at::tanh(at::mm(rows, up)), down));
    result.rows[e] = rows.detach();
    weights[e] = {up, down};
    row += sent.counts[i];
  }
  EXPECT_EQ(row, sent.rows_RD.size(0));
  const at::Tensor y = dispatcher.combine(at::cat(outputs), sent.plan);
  y.backward(share.g_TD);
  result.y_TD = y.detach();
  result.dx_TD = share.x_TD.grad();
  result.dweights_N = share.routing.weights.grad();
  for (const auto& [e, pair] : weights) {
    result.dup[e] = pair.first.grad();
    result.ddown[e] = pair.second.grad();
  }
  return result;
}

BlockResult run_whole_block(const DispatchCase& c) {
  LocalDispatcher dispatcher(c.experts);
  std::vector<int64_t> all(c.experts);
  for (int64_t e = 0; e < c.experts; ++e) all[e] = e;
  BlockResult result;
  run_ranks(1, [&](Communicator&) { result = run_block(dispatcher, c.batch().share(0, c.tokens), all, 1, 0); });
  return result;
}

void expect_close(const at::Tensor& a, const at::Tensor& b, const char* what) {
  ASSERT_EQ(a.sizes(), b.sizes()) << what;
  EXPECT_TRUE(at::allclose(a, b, 1e-9, 1e-9)) << what;
}

}  // namespace switchyard
