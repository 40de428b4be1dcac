// Dispatch → experts → combine with a given routing: the bits of one rank on 2, 3 and 4, in every dtype.
#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "layers/moe/experts.h"
#include "parallel/dispatch/all_to_all.h"
#include "parallel/dispatch/local.h"
#include "parallel/parameter/initialise.h"
#include "tests/layers/moe/logical_gradients.h"
#include "tests/support/global_batch.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

// Rows of 64 bytes and more in bf16, as the experts ask for where bits are promised.
constexpr int64_t kWidth = 64;
constexpr int64_t kHidden = 96;
constexpr int64_t kTokens = 90;

struct Case {
  at::ScalarType dtype;
  Activation activation;
  int64_t experts;
  Skew skew;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.dtype << " activation " << static_cast<int>(c.activation) << " experts " << c.experts << " skew "
       << static_cast<int>(c.skew);
}

struct Result {
  std::vector<at::Tensor> y, dx, dweights;  // by rank
  LogicalGradients gradients;
};

void run(const Case& c, const MeshShape& shape, bool local, Result& result) {
  const GlobalBatch batch = GlobalBatch::make(kTokens, kWidth, c.experts, 2, c.skew, true, c.dtype);
  const int ranks = shape.ranks();
  result.y.resize(ranks);
  result.dx.resize(ranks);
  result.dweights.resize(ranks);
  run_mesh(shape, [&](const Mesh& mesh) {
    const int rank = mesh.world().rank();
    const Placement placement = Placement::contiguous(c.experts, shape.expert);
    std::unique_ptr<Dispatcher> dispatcher;
    if (local) {
      dispatcher = std::make_unique<LocalDispatcher>(c.experts);
    } else {
      dispatcher =
          std::make_unique<AllToAllDispatcher>(mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch),
                                               placement, shape.expert_tensor, mesh.node_group(), mesh.shared_memory());
    }
    Experts experts("moe", kWidth, kHidden, c.activation, placement,
                    {.mesh = mesh, .dtype = c.dtype, .init_scale = 0.1, .residual_init_scale = 0.1});
    initialise_values(experts.parameters(), 3);
    attach_plain_gradients(experts.parameters());

    const auto [begin, end] = cut(kTokens, ranks, rank);
    const GlobalBatch share = batch.share(begin, end);
    const Dispatched sent = dispatcher->dispatch(share.x_TD, share.routing);
    const at::Tensor y = dispatcher->combine(experts.forward(sent.rows_RD, sent.counts), sent.plan);
    y.backward(share.g_TD);
    result.y[rank] = y.detach();
    result.dx[rank] = share.x_TD.grad();
    result.dweights[rank] = share.routing.weights.grad();
    result.gradients.add(experts.parameters());
  });
}

class ExpertBlock : public ::testing::TestWithParam<Case> {};

TEST_P(ExpertBlock, HasTheBitsOfOneRank) {
  const Case c = GetParam();
  Result whole;
  run(c, mesh_shape(1), true, whole);
  for (int ranks : {1, 2, 3, 4}) {
    SCOPED_TRACE(absl::StrCat(ranks, " ranks"));
    Result part;
    run(c, mesh_shape(ranks, 1, ranks), false, part);
    EXPECT_TRUE(at::equal(at::cat(part.y), whole.y[0]));
    EXPECT_TRUE(at::equal(at::cat(part.dx), whole.dx[0]));
    EXPECT_TRUE(at::equal(at::cat(part.dweights), whole.dweights[0]));
    ASSERT_EQ(part.gradients.whole().size(), whole.gradients.whole().size());
    for (const auto& [name, gradient] : whole.gradients.whole()) {
      EXPECT_TRUE(at::equal(part.gradients.whole().at(name), gradient)) << name;
    }
  }
}

TEST_P(ExpertBlock, IsTheSameWithExpertsSharedAndReplicated) {
  Case c = GetParam();
  c.dtype = at::kDouble;  // sums over ranks round
  Result whole;
  run(c, mesh_shape(1), true, whole);
  for (const MeshShape& shape : {mesh_shape(2, 1, 1, 2), mesh_shape(2), mesh_shape(3, 1, 1, 3), mesh_shape(4, 1, 2, 2),
                                 mesh_shape(4, 1, 2), mesh_shape(6, 1, 3), mesh_shape(6, 1, 1, 2)}) {
    SCOPED_TRACE(describe(shape));
    Result part;
    run(c, shape, false, part);
    const auto close = [](const at::Tensor& a, const at::Tensor& b) { return at::allclose(a, b, 1e-9, 1e-9); };
    EXPECT_TRUE(close(at::cat(part.y), whole.y[0]));
    EXPECT_TRUE(close(at::cat(part.dx), whole.dx[0]));
    EXPECT_TRUE(close(at::cat(part.dweights), whole.dweights[0]));
    for (const auto& [name, gradient] : whole.gradients.whole()) {
      EXPECT_TRUE(close(part.gradients.whole().at(name), gradient)) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, ExpertBlock,
                         ::testing::Values(Case{at::kBFloat16, Activation::kSwiglu, 8, Skew::kSkewed},
                                           Case{at::kBFloat16, Activation::kRelu, 5, Skew::kUniform},
                                           Case{at::kBFloat16, Activation::kGelu, 4, Skew::kOneExpert},
                                           Case{at::kFloat, Activation::kSwiglu, 8, Skew::kSkewed},
                                           Case{at::kFloat, Activation::kGelu, 5, Skew::kUniform},
                                           Case{at::kFloat, Activation::kRelu, 2, Skew::kUniform},
                                           Case{at::kDouble, Activation::kSwiglu, 7, Skew::kSkewed},
                                           Case{at::kDouble, Activation::kGelu, 3, Skew::kOneExpert}));

}  // namespace
}  // namespace switchyard
