// The whole layer, its router and shared experts included, on a grid of layouts against one rank, in fp64.
#include "layers/moe/moe_layer.h"

#include <numeric>

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "parallel/parameter/initialise.h"
#include "tests/layers/moe/logical_gradients.h"
#include "tests/layers/moe/make_layer.h"
#include "tests/support/global_batch.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

struct Case {
  int64_t tokens;
  MoeConfig config;
};

struct Result {
  std::vector<at::Tensor> y, dx;
  std::vector<double> losses;
  RouterStatistics statistics;
  LogicalGradients gradients;
};

void run(const Case& c, const MeshShape& shape, Result& result, const std::vector<int>& nodes = {}) {
  const GlobalBatch batch = GlobalBatch::make(c.tokens, kWidth, 2, 1, Skew::kUniform, false, at::kDouble);
  result.y.resize(shape.ranks());
  result.dx.resize(shape.ranks());
  result.losses.resize(shape.ranks());
  const auto body = [&](const Mesh& mesh) {
    const int rank = mesh.world().rank();
    const auto [data_begin, data_end] = cut(c.tokens, shape.data, mesh.index(Axis::kData));
    const auto [begin, end] = cut(data_end - data_begin, shape.tensor, mesh.index(Axis::kTensor));
    const auto layer = make_layer(c.config, mesh);
    initialise_values(layer->parameters(), 11);
    attach_plain_gradients(layer->parameters());
    const GlobalBatch share = batch.share(data_begin + begin, data_begin + end);
    const MoeOutput output = layer->forward(share.x_TD, {.tokens = {},
                                                         .tags = {},
                                                         .first_token = data_begin + begin,
                                                         .data_rank_tokens = data_end - data_begin,
                                                         .population = c.tokens});
    ((output.y_tD * share.g_TD).sum() + output.auxiliary_loss).backward();
    result.y[rank] = output.y_tD.detach();
    result.dx[rank] = share.x_TD.grad();
    result.losses[rank] = output.auxiliary_loss.item<double>();
    result.gradients.add(layer->parameters());
    if (rank == 0) result.statistics = layer->statistics();
  };
  run_mesh(shape, body, nodes);
}

double total(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

void expect_same_on_every_layout(const Case& c) {
  Result whole;
  run(c, mesh_shape(1), whole);
  const auto close = [](const at::Tensor& a, const at::Tensor& b) { return at::allclose(a, b, 1e-9, 1e-9); };
  std::vector<MeshShape> shapes{mesh_shape(2),          mesh_shape(2, 2),    mesh_shape(2, 1, 2),
                                mesh_shape(2, 2, 1, 2), mesh_shape(3, 1, 3), mesh_shape(3, 3, 1, 3),
                                mesh_shape(4, 2, 4),    mesh_shape(4, 1, 2), mesh_shape(4, 2, 2, 2),
                                mesh_shape(4, 4, 2),    mesh_shape(6, 2, 3), mesh_shape(6, 3, 2, 3)};
  if (!c.config.router.capacity.pad) {
    for (MeshShape shape : {mesh_shape(1), mesh_shape(2, 1, 2), mesh_shape(4, 2, 2, 2), mesh_shape(6, 2, 3)}) {
      shape.dispatch_chunks = 3;
      shapes.push_back(shape);
    }
  }
  for (const MeshShape& shape : shapes) {
    SCOPED_TRACE(absl::StrCat(describe(shape), ", chunks ", shape.dispatch_chunks));
    Result part;
    run(c, shape, part);
    EXPECT_TRUE(close(at::cat(part.y), whole.y[0]));
    EXPECT_TRUE(close(at::cat(part.dx), whole.dx[0]));
    EXPECT_NEAR(total(part.losses), total(whole.losses), 1e-12);
    EXPECT_EQ(part.statistics.tokens_per_expert, whole.statistics.tokens_per_expert);
    ASSERT_EQ(part.gradients.whole().size(), whole.gradients.whole().size());
    for (const auto& [name, gradient] : whole.gradients.whole()) {
      EXPECT_TRUE(close(part.gradients.whole().at(name), gradient)) << name;
      EXPECT_GT(gradient.abs().max().item<double>(), 0) << name;
    }
  }
}

TEST(MoeLayer, IsTheSameOnEveryLayout) {
  expect_same_on_every_layout(
      {.tokens = 61,
       .config = {.experts = 5, .experts_per_token = 3, .expert_width = 18, .shared_experts = 2, .router = {}}});
}

TEST(MoeLayer, IsTheSameOnEveryLayoutWithoutGateAndSharedExperts) {
  RouterConfig router;
  router.renormalise = false;
  router.aux_loss = router.z_loss = 1;
  expect_same_on_every_layout(
      {.tokens = 40,
       .config = {.experts = 3, .experts_per_token = 1, .expert_width = 7, .activation = "gelu", .router = router}});
}

TEST(MoeLayer, IsTheSameOnEveryLayoutWithSharedMatricesAndGate) {
  RouterConfig router;
  router.capacity = {.factor = 0.8, .pad = true};
  for (const char* share : {"up", "down"}) {
    expect_same_on_every_layout({.tokens = 61,
                                 .config = {.experts = 5,
                                            .experts_per_token = 2,
                                            .expert_width = 18,
                                            .shared_experts = 1,
                                            .shared_gate = true,
                                            .share = share,
                                            .router = router}});
  }
}

// Experts with one matrix in common are experts of their own that happen to be equal there.
TEST(MoeLayer, ASharedMatrixIsTheSameMatrixInEveryExpert) {
  run_mesh(mesh_shape(1), [](const Mesh& mesh) {
    const at::Tensor x = at::sin(at::arange(30 * kWidth, at::kDouble)).view({30, kWidth});
    for (const std::string share : {"up", "down"}) {
      MoeConfig config{.experts = 3, .experts_per_token = 2, .expert_width = 8, .share = share, .router = {}};
      const auto shared = make_layer(config, mesh);
      config.share = "none";
      const auto apart = make_layer(config, mesh);
      const auto run = [&](MoeLayer& layer) {
        attach_plain_gradients(layer.parameters());
        const MoeOutput output = layer.forward(x, {.tokens = {}, .tags = {}, .data_rank_tokens = 30, .population = 30});
        output.y_tD.square().sum().backward();
        return output.y_tD.detach();
      };
      initialise_values(shared->parameters(), 11);
      for (size_t i = 0; i < shared->parameters().size(); ++i) {
        const at::NoGradGuard no_grad;
        apart->parameters()[i]->value().copy_(shared->parameters()[i]->value());  // a stack of one is repeated
      }
      EXPECT_TRUE(at::equal(run(*shared), run(*apart)));
      const size_t place = share == "up" ? 1 : 2;
      ASSERT_EQ(shared->parameters()[place]->value().size(0), 1);
      EXPECT_TRUE(at::allclose(shared->parameters()[place]->gradient()[0],
                               apart->parameters()[place]->gradient().sum(0), 1e-12, 1e-12));
    }
  });
}

TEST(MoeLayer, TheSharedGateWeighsWhatSharedExpertsGive) {
  run_mesh(mesh_shape(1), [](const Mesh& mesh) {
    const at::NoGradGuard no_grad;
    const at::Tensor x = at::sin(at::arange(30 * kWidth, at::kDouble)).view({30, kWidth});
    at::Tensor weight;
    const auto run = [&](int64_t shared_experts, bool shared_gate) {
      const auto layer = make_layer({.experts = 3,
                                     .experts_per_token = 2,
                                     .expert_width = 8,
                                     .shared_experts = shared_experts,
                                     .shared_gate = shared_gate,
                                     .router = {}},
                                    mesh);
      initialise_values(layer->parameters(), 11);
      if (shared_gate) weight = layer->parameters().back()->value();
      return layer->forward(x, {.tokens = {}, .tags = {}, .data_rank_tokens = 30, .population = 30}).y_tD;
    };
    const at::Tensor routed = run(0, false), plain = run(2, false), gated = run(2, true);
    EXPECT_TRUE(at::allclose(gated, routed + at::sigmoid(at::mm(x, weight.t())) * (plain - routed), 1e-12, 1e-12));
  });
}

// Sizes of what rows are put into, seen where ATen is called.
std::vector<int64_t>* padded_rows = nullptr;

std::unique_ptr<at::ObserverContext> note_padded_rows(const at::RecordFunction& call) {
  if (std::string(call.name()) == "aten::index_copy") padded_rows->push_back(call.inputs()[0].toTensor().size(0));
  return nullptr;
}

TEST(MoeLayer, ExpertsComputeAsManyRowsAsTheirCapacity) {
  run_mesh(mesh_shape(1), [](const Mesh& mesh) {
    MoeConfig config{.experts = 3, .experts_per_token = 2, .expert_width = 8, .router = {}};
    config.router.capacity = {.factor = 1.5, .pad = true};
    const auto layer = make_layer(config, mesh);
    initialise_values(layer->parameters(), 11);
    const at::Tensor x = at::sin(at::arange(30 * kWidth, at::kDouble)).view({30, kWidth});
    std::vector<int64_t> rows;
    padded_rows = &rows;
    const at::CallbackHandle handle =
        at::addThreadLocalCallback(at::RecordFunctionCallback(note_padded_rows).needsInputs(true));
    layer->forward(x, {.tokens = {}, .tags = {}, .data_rank_tokens = 30, .population = 30});
    at::removeCallback(handle);
    EXPECT_EQ(rows, std::vector<int64_t>{3 * 30}) << "1.5 · 30 · 2 / 3 each";
  });
}

// What experts give is read where it lies, sent, or both, in several chunks that are under way at once.
TEST(MoeLayer, GivesTheSameBitsWhateverMemoryRanksShare) {
  const Case c{.tokens = 61, .config = {.experts = 6, .experts_per_token = 3, .expert_width = 16, .router = {}}};
  for (const int64_t chunks : {1, 3}) {
    for (MeshShape shape : {mesh_shape(4, 1, 4), mesh_shape(4, 1, 2, 2)}) {
      shape.dispatch_chunks = chunks;
      Result apart;
      run(c, shape, apart, {0, 1, 2, 3});
      for (const std::vector<int>& nodes : {std::vector<int>{}, {0, 0, 1, 1}, {0, 1, 0, 1}, {0, 1, 1, 1}}) {
        Result part;
        run(c, shape, part, nodes);
        EXPECT_TRUE(at::equal(at::cat(part.y), at::cat(apart.y)));
        EXPECT_TRUE(at::equal(at::cat(part.dx), at::cat(apart.dx)));
        for (const auto& [name, gradient] : apart.gradients.whole()) {
          if (name == "moe.router") continue;  // added up in the order in which ranks come to it
          EXPECT_TRUE(at::equal(part.gradients.whole().at(name), gradient)) << name;
        }
      }
    }
  }
}

TEST(MoeLayer, MatricesAreReportedOnceAllPartsOfTheTokensAreBack) {
  MeshShape shape = mesh_shape(1);
  shape.dispatch_chunks = 3;
  run_mesh(shape, [](const Mesh& mesh) {
    const at::Tensor x = at::sin(at::arange(30 * kWidth, at::kDouble)).view({30, kWidth});
    std::vector<at::Tensor> gradients;
    for (const bool input_gradient : {true, false}) {
      const auto layer = make_layer({.experts = 3, .experts_per_token = 2, .expert_width = 8, .router = {}}, mesh);
      initialise_values(layer->parameters(), 11);
      attach_plain_gradients(layer->parameters());
      Parameter& up = *layer->parameters()[1];
      int reports = 0;
      up.attach(at::zeros_like(up.value().detach()), [&](Parameter& parameter) {
        ++reports;
        gradients.push_back(parameter.gradient().clone());
      });
      const at::Tensor leaf = x.clone().set_requires_grad(input_gradient);
      layer->forward(leaf, {.tokens = {}, .tags = {}, .data_rank_tokens = 30, .population = 30})
          .y_tD.square()
          .sum()
          .backward();
      EXPECT_EQ(reports, 1);
    }
    ASSERT_EQ(gradients.size(), 2U);
    EXPECT_GT(gradients[0].norm().item<double>(), 0);
    EXPECT_TRUE(at::allclose(gradients[0], gradients[1], 1e-12, 1e-12));
  });
}

// Fewer tokens than ranks: some have none, and some experts get none.
TEST(MoeLayer, RanksWithoutTokensTakePart) {
  const Case c{.tokens = 2,
               .config = {.experts = 2, .experts_per_token = 2, .expert_width = 9, .shared_experts = 1, .router = {}}};
  expect_same_on_every_layout(c);
}

}  // namespace
}  // namespace switchyard
