// Dispatch and combine over ranks as threads: the identity, the row order, and the bits of the one-rank dispatcher.
#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "parallel/dispatch/all_to_all.h"
#include "parallel/dispatch/local.h"
#include "parallel/topology/box.h"
#include "tests/support/global_batch.h"
#include "tests/support/mesh.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

constexpr int64_t kWidth = 32;
constexpr int64_t kHidden = 48;

struct Case {
  std::string name;
  at::ScalarType dtype = at::kDouble;
  int64_t tokens = 37;
  int64_t experts = 6;
  int64_t experts_per_token = 2;
  Skew skew = Skew::kUniform;
  bool ragged = false;
  bool idle_rank = false;  // rank 0 holds no tokens
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

std::vector<Case> cases() {
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

GlobalBatch make_batch(const Case& c) {
  return GlobalBatch::make(c.tokens, kWidth, c.experts, c.experts_per_token, c.skew, c.ragged, c.dtype);
}

std::pair<int64_t, int64_t> share_of(const Case& c, int ranks, int rank) {
  if (!c.idle_rank || ranks == 1) return cut(c.tokens, ranks, rank);
  return rank == 0 ? std::make_pair(int64_t{0}, int64_t{0}) : cut(c.tokens, ranks - 1, rank - 1);
}

struct Result {
  at::Tensor y_TD, dx_TD, dweights_N;
  std::map<int64_t, at::Tensor> rows, dup, ddown;  // by expert id; the gradients of up and down
};

at::Tensor expert_weight(int64_t expert, int matrix, at::ScalarType dtype) {
  const int64_t rows = matrix == 0 ? kWidth : kHidden;
  const int64_t columns = matrix == 0 ? kHidden : kWidth;
  const at::Tensor index = at::arange(rows * columns, at::kDouble) + static_cast<double>(1000 * expert + 31 * matrix);
  return (at::sin(index * 1.7) * 0.3).view({rows, columns}).to(dtype);
}

// dispatch → tanh(rows · up) · down for each expert, the hidden width cut over expert_tensor → combine → backward.
Result run_block(Dispatcher& dispatcher, const GlobalBatch& share, const std::vector<int64_t>& experts, int parts,
                 int part) {
  Result result;
  Dispatched sent = dispatcher.dispatch(share.x_TD, share.routing);
  EXPECT_EQ(sent.counts.size(), experts.size());
  const auto [begin, end] = cut(kHidden, parts, part);
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
  const at::Tensor y = dispatcher.combine(at::cat(outputs), share.routing.weights, sent.plan);
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

Result run_whole(const Case& c) {
  LocalDispatcher dispatcher(c.experts);
  std::vector<int64_t> all(c.experts);
  for (int64_t e = 0; e < c.experts; ++e) all[e] = e;
  Result result;
  run_ranks(1, [&](Communicator&) { result = run_block(dispatcher, make_batch(c).share(0, c.tokens), all, 1, 0); });
  return result;
}

at::Tensor slots_of(const Case& c, const at::Tensor& whole_N, int64_t begin, int64_t end) {
  const at::Tensor offsets = make_batch(c).routing.offsets;
  const int64_t first = offsets[begin].item<int64_t>();
  return whole_N.narrow(0, first, offsets[end].item<int64_t>() - first);
}

void expect_close(const at::Tensor& a, const at::Tensor& b, const char* what) {
  ASSERT_EQ(a.sizes(), b.sizes()) << what;
  EXPECT_TRUE(at::allclose(a, b, 1e-9, 1e-9)) << what;
}

class Dispatch : public ::testing::TestWithParam<Case> {};

TEST_P(Dispatch, ThenCombineWithEqualWeightsIsTheIdentity) {
  const Case c = GetParam();
  for (const MeshShape& shape :
       {mesh_shape(1), mesh_shape(2, 1, 2), mesh_shape(3, 1, 3), mesh_shape(4, 1, 4), mesh_shape(4, 1, 2, 2)}) {
    SCOPED_TRACE(describe(shape));
    run_mesh(shape, [&](const Mesh& mesh) {
      AllToAllDispatcher dispatcher(mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch),
                                    Placement::contiguous(c.experts, shape.expert), shape.expert_tensor);
      const auto [begin, end] = share_of(c, shape.ranks(), mesh.world().rank());
      GlobalBatch batch = make_batch(c);
      // Few significant bits, so that every partial sum is exact.
      batch.x_TD = batch.x_TD.to(at::kBFloat16).to(c.dtype);
      batch.g_TD = batch.g_TD.to(at::kBFloat16).to(c.dtype);
      const GlobalBatch share = batch.share(begin, end);
      const at::Tensor slots_T = at::diff(share.routing.offsets);
      const at::Tensor weights_N =
          at::repeat_interleave((slots_T * shape.expert_tensor).to(at::kDouble).reciprocal(), slots_T);
      const Dispatched sent = dispatcher.dispatch(share.x_TD, share.routing);
      const at::Tensor y = dispatcher.combine(sent.rows_RD, weights_N.to(share.routing.weights.dtype()), sent.plan);
      y.backward(share.g_TD);
      const at::Tensor routed = slots_T.gt(0).unsqueeze(1);  // a token without slots gives zeros
      EXPECT_TRUE(at::equal(y, share.x_TD * routed));
      EXPECT_TRUE(at::equal(share.x_TD.grad(), share.g_TD * routed));
    });
  }
}

TEST_P(Dispatch, GivesTheBitsOfOneRank) {
  const Case c = GetParam();
  const Result whole = run_whole(c);
  for (int ranks : {1, 2, 3, 4}) {
    SCOPED_TRACE(absl::StrCat(ranks, " ranks"));
    run_mesh(mesh_shape(ranks, 1, ranks), [&](const Mesh& mesh) {
      const Placement placement = Placement::contiguous(c.experts, ranks);
      AllToAllDispatcher dispatcher(mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch), placement, 1);
      const auto [begin, end] = share_of(c, ranks, mesh.world().rank());
      const Result part =
          run_block(dispatcher, make_batch(c).share(begin, end), placement.experts_of[mesh.world().rank()], 1, 0);
      EXPECT_TRUE(at::equal(part.y_TD, whole.y_TD.narrow(0, begin, end - begin)));
      EXPECT_TRUE(at::equal(part.dx_TD, whole.dx_TD.narrow(0, begin, end - begin)));
      EXPECT_TRUE(at::equal(part.dweights_N, slots_of(c, whole.dweights_N, begin, end)));
      for (const auto& [e, rows] : part.rows) {
        EXPECT_TRUE(at::equal(rows, whole.rows.at(e))) << "rows of expert " << e;
        EXPECT_TRUE(at::equal(part.dup.at(e), whole.dup.at(e))) << "up of expert " << e;
        EXPECT_TRUE(at::equal(part.ddown.at(e), whole.ddown.at(e))) << "down of expert " << e;
      }
    });
  }
}

TEST_P(Dispatch, SharedExpertsAndReplicatedOnesAddUp) {
  Case c = GetParam();
  c.dtype = at::kDouble;
  const Result whole = run_whole(c);
  for (const MeshShape& shape : {mesh_shape(2, 1, 1, 2), mesh_shape(4, 1, 2, 2), mesh_shape(4, 2, 1, 4),
                                 mesh_shape(4, 1, 2), mesh_shape(6, 1, 3), mesh_shape(6, 1, 1, 3), mesh_shape(2)}) {
    SCOPED_TRACE(describe(shape));
    run_mesh(shape, [&](const Mesh& mesh) {
      const Placement placement = Placement::contiguous(c.experts, shape.expert);
      AllToAllDispatcher dispatcher(mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch), placement,
                                    shape.expert_tensor);
      const auto [begin, end] = share_of(c, shape.ranks(), mesh.world().rank());
      const int part_index = mesh.index(Axis::kExpertTensor);
      const Result part = run_block(dispatcher, make_batch(c).share(begin, end),
                                    placement.experts_of[mesh.index(Axis::kExpert)], shape.expert_tensor, part_index);
      expect_close(part.y_TD, whole.y_TD.narrow(0, begin, end - begin), "y");
      expect_close(part.dx_TD, whole.dx_TD.narrow(0, begin, end - begin), "dx");
      expect_close(part.dweights_N, slots_of(c, whole.dweights_N, begin, end), "weights");
      const auto [first, last] = cut(kHidden, shape.expert_tensor, part_index);
      for (const auto& [e, rows] : part.rows) {
        at::Tensor dup = part.dup.at(e).clone();
        at::Tensor ddown = part.ddown.at(e).clone();
        Communicator& copies = mesh.group({Axis::kExpertData}, Purpose::kGradient);
        ASSERT_TRUE(copies.all_reduce(dup, ReduceOp::kSum).wait().ok());
        ASSERT_TRUE(copies.all_reduce(ddown, ReduceOp::kSum).wait().ok());
        expect_close(dup, whole.dup.at(e).narrow(1, first, last - first), "up");
        expect_close(ddown, whole.ddown.at(e).narrow(0, first, last - first), "down");
      }
    });
  }
}

// With nothing but dispatch, dx is the plain sum of a token's gradient rows, and a plan serves once each way.
TEST(DispatchOrder, RowsOfAnExpertAreInTheOrderOfGlobalTokens) {
  const int ranks = 3;
  run_mesh(mesh_shape(ranks, 1, ranks), [&](const Mesh& mesh) {
    const GlobalBatch batch = GlobalBatch::make(40, kWidth, 7, 3, Skew::kUniform, true, at::kDouble);
    const Placement placement = Placement::contiguous(7, ranks);
    AllToAllDispatcher dispatcher(mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch), placement, 1);
    const auto [begin, end] = cut(40, ranks, mesh.world().rank());
    const GlobalBatch share = batch.share(begin, end);
    const Dispatched sent = dispatcher.dispatch(share.x_TD, share.routing);
    int64_t row = 0;
    for (size_t i = 0; i < sent.counts.size(); ++i) {
      const int64_t first = row;
      for (int64_t t = 0; t < 40; ++t) {
        for (int64_t s = batch.routing.offsets[t].item<int64_t>(); s < batch.routing.offsets[t + 1].item<int64_t>();
             ++s) {
          if (batch.routing.experts[s].item<int64_t>() != placement.experts_of[mesh.world().rank()][i]) continue;
          EXPECT_TRUE(at::equal(sent.rows_RD[row++], batch.x_TD[t]));
        }
      }
      EXPECT_EQ(row - first, sent.counts[i]);
    }
    EXPECT_EQ(row, sent.rows_RD.size(0));
    sent.rows_RD.backward(at::ones_like(sent.rows_RD));
    const at::Tensor slots =
        (share.routing.offsets.narrow(0, 1, end - begin) - share.routing.offsets.narrow(0, 0, end - begin));
    EXPECT_TRUE(at::equal(share.x_TD.grad(), slots.to(at::kDouble).unsqueeze(1).expand({end - begin, kWidth})));
  });
}

INSTANTIATE_TEST_SUITE_P(Cases, Dispatch, ::testing::ValuesIn(cases()),
                         [](const ::testing::TestParamInfo<Case>& tested) { return tested.param.name; });

}  // namespace
}  // namespace switchyard
