// Dispatch and combine over ranks as threads: the identity, the row order, and the bits of the one-rank dispatcher.
#include <functional>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <gtest/gtest.h>

#include "parallel/dispatch/all_to_all.h"
#include "parallel/topology/box.h"
#include "tests/parallel/dispatch/dispatch_block.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

class Dispatch : public ::testing::TestWithParam<DispatchCase> {};

// body(mesh, what its ranks share): by messages alone, with memory that all share, and with both, hosts being equal,
// dealt to in turn, or unequal with a rank that is alone.
void run_ways(const MeshShape& shape, const std::function<void(const Mesh&, const SharedMemory*)>& body) {
  run_mesh(shape, [&](const Mesh& mesh) { body(mesh, nullptr); });
  const int ranks = shape.ranks();
  std::vector<int> together(ranks), halves(ranks), in_turn(ranks), one_apart(ranks);
  for (int r = 0; r < ranks; ++r) {
    halves[r] = r < ranks / 2 ? 0 : 1;
    in_turn[r] = r % 2;
    one_apart[r] = r == 0 ? 1 : 0;
  }
  for (const std::vector<int>& nodes : {together, halves, in_turn, one_apart}) {
    SCOPED_TRACE(absl::StrCat("hosts ", absl::StrJoin(nodes, ",")));
    run_mesh(
        shape, [&](const Mesh& mesh) { body(mesh, mesh.shared_memory()); }, nodes);
  }
}

TEST_P(Dispatch, ThenCombineWithEqualWeightsIsTheIdentity) {
  const DispatchCase c = GetParam();
  for (const MeshShape& shape :
       {mesh_shape(1), mesh_shape(2, 1, 2), mesh_shape(3, 1, 3), mesh_shape(4, 1, 4), mesh_shape(4, 1, 2, 2)}) {
    SCOPED_TRACE(describe(shape));
    run_ways(shape, [&](const Mesh& mesh, const SharedMemory* memory) {
      AllToAllDispatcher dispatcher(mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch),
                                    Placement::contiguous(c.experts, shape.expert), shape.expert_tensor,
                                    mesh.node_group(), memory);
      const auto [begin, end] = c.share_of(shape.ranks(), mesh.world().rank());
      expect_identity(dispatcher, with_few_bits(c.batch()).share(begin, end), shape.expert_tensor);
    });
  }
}

TEST_P(Dispatch, GivesTheBitsOfOneRank) {
  const DispatchCase c = GetParam();
  const BlockResult whole = run_whole_block(c);
  for (int ranks : {1, 2, 3, 4}) {
    SCOPED_TRACE(absl::StrCat(ranks, " ranks"));
    run_ways(mesh_shape(ranks, 1, ranks), [&](const Mesh& mesh, const SharedMemory* memory) {
      const Placement placement = Placement::contiguous(c.experts, ranks);
      AllToAllDispatcher dispatcher(mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch), placement, 1,
                                    mesh.node_group(), memory);
      const auto [begin, end] = c.share_of(ranks, mesh.world().rank());
      const BlockResult part =
          run_block(dispatcher, c.batch().share(begin, end), placement.experts_of[mesh.world().rank()], 1, 0);
      EXPECT_TRUE(at::equal(part.y_TD, whole.y_TD.narrow(0, begin, end - begin)));
      EXPECT_TRUE(at::equal(part.dx_TD, whole.dx_TD.narrow(0, begin, end - begin)));
      EXPECT_TRUE(at::equal(part.dweights_N, c.slots_of(whole.dweights_N, begin, end)));
      for (const auto& [e, rows] : part.rows) {
        EXPECT_TRUE(at::equal(rows, whole.rows.at(e))) << "rows of expert " << e;
        EXPECT_TRUE(at::equal(part.dup.at(e), whole.dup.at(e))) << "up of expert " << e;
        EXPECT_TRUE(at::equal(part.ddown.at(e), whole.ddown.at(e))) << "down of expert " << e;
      }
    });
  }
}

TEST_P(Dispatch, SharedExpertsAndReplicatedOnesAddUp) {
  DispatchCase c = GetParam();
  c.dtype = at::kDouble;
  const BlockResult whole = run_whole_block(c);
  for (const MeshShape& shape : {mesh_shape(2, 1, 1, 2), mesh_shape(4, 1, 2, 2), mesh_shape(4, 2, 1, 4),
                                 mesh_shape(4, 1, 2), mesh_shape(6, 1, 3), mesh_shape(6, 1, 1, 3), mesh_shape(2)}) {
    SCOPED_TRACE(describe(shape));
    run_ways(shape, [&](const Mesh& mesh, const SharedMemory* memory) {
      const Placement placement = Placement::contiguous(c.experts, shape.expert);
      AllToAllDispatcher dispatcher(mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch), placement,
                                    shape.expert_tensor, mesh.node_group(), memory);
      const auto [begin, end] = c.share_of(shape.ranks(), mesh.world().rank());
      const int part_index = mesh.index(Axis::kExpertTensor);
      const BlockResult part =
          run_block(dispatcher, c.batch().share(begin, end), placement.experts_of[mesh.index(Axis::kExpert)],
                    shape.expert_tensor, part_index);
      expect_close(part.y_TD, whole.y_TD.narrow(0, begin, end - begin), "y");
      expect_close(part.dx_TD, whole.dx_TD.narrow(0, begin, end - begin), "dx");
      expect_close(part.dweights_N, c.slots_of(whole.dweights_N, begin, end), "weights");
      const auto [first, last] = cut(kBlockHidden, shape.expert_tensor, part_index);
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

// A rank that has summed its rows does not know whether others have: what it lent stays until all come to the next one.
TEST(DispatchMemory, WhatIsLentIsKeptUntilAllRanksHaveReadIt) {
  const at::NoGradGuard no_grad;
  run_mesh(mesh_shape(2, 1, 2), [](const Mesh& mesh) {
    const SharedMemory& memory = *mesh.shared_memory();
    AllToAllDispatcher dispatcher(mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch),
                                  Placement::contiguous(4, 2), 1, mesh.node_group(), &memory);
    const Routing routing{.offsets = at::arange(0, 9, 4, at::kLong),
                          .experts = at::arange(4, at::kLong).repeat({2}),
                          .weights = at::full({8}, 0.25)};
    const at::Tensor x = at::full({2, 16}, 1.0 + mesh.world().rank());
    Dispatched sent = dispatcher.dispatch(x, routing);
    at::Tensor y = memory.allocate(8, 16, at::kFloat).copy_(sent.rows_RD);
    const void* const place = y.const_data_ptr();
    sent.rows_RD.reset();
    EXPECT_TRUE(at::equal(dispatcher.combine(y, sent.plan), x));
    y.reset();
    sent.plan.reset();
    std::vector<at::Tensor> others;
    for (int i = 0; i < 4; ++i) others.push_back(memory.allocate(8, 16, at::kFloat));
    for (const at::Tensor& other : others) EXPECT_NE(other.const_data_ptr(), place);
    others.clear();
    const Dispatched next = dispatcher.dispatch(x, routing);
    bool given_back = false;
    for (int i = 0; i < 4; ++i) {
      others.push_back(memory.allocate(8, 16, at::kFloat));
      given_back |= others.back().const_data_ptr() == place;
    }
    EXPECT_TRUE(given_back);
  });
}

// With nothing but dispatch, dx is the plain sum of a token's gradient rows, and a plan serves once each way.
TEST(DispatchOrder, RowsOfAnExpertAreInTheOrderOfGlobalTokens) {
  const int ranks = 3;
  run_mesh(mesh_shape(ranks, 1, ranks), [&](const Mesh& mesh) {
    const GlobalBatch batch = GlobalBatch::make(40, kBlockWidth, 7, 3, Skew::kUniform, true, at::kDouble);
    const Placement placement = Placement::contiguous(7, ranks);
    AllToAllDispatcher dispatcher(mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch), placement, 1,
                                  mesh.node_group(), mesh.shared_memory());
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
    EXPECT_TRUE(at::equal(share.x_TD.grad(), slots.to(at::kDouble).unsqueeze(1).expand({end - begin, kBlockWidth})));
  });
}

INSTANTIATE_TEST_SUITE_P(Cases, Dispatch, ::testing::ValuesIn(dispatch_cases()),
                         [](const ::testing::TestParamInfo<DispatchCase>& tested) { return tested.param.name; });

}  // namespace
}  // namespace switchyard
