// Every kind of router against tests/golden/make_routers.py: weights, losses and gradients, whole and cut over ranks.

#include "tests/support/golden.h"

#include <mutex>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "layers/moe/router/make_router.h"
#include "layers/moe/router/selection.h"
#include "runtime/base/status.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

constexpr int64_t kTokens = 24, kWidth = 8, kExperts = 6;

struct Case {
  std::string name;  // in make_routers.py
  RouterConfig router;
  int64_t experts_per_token = 2;
  bool composed = false;  // also where there is a fused kernel
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

std::vector<Case> cases() {
  RouterConfig plain;
  plain.aux_loss = 0.5;
  plain.z_loss = 0;
  const auto with = [](RouterConfig config, auto change) {
    change(config);
    return config;
  };
  const auto capacity = [&](const char* drop) {
    return with(plain, [&](RouterConfig& c) { c.capacity = {.factor = 1, .drop = drop}; });
  };
  const auto unbalanced = [&](const char* kind) {
    return with(plain, [&](RouterConfig& c) {
      c.kind = kind;
      c.aux_loss = 0;
    });
  };
  const RouterConfig softmax = with(plain, [](RouterConfig& c) { c.z_loss = 0.25; });
  return {{"softmax", softmax},
          {"softmax", softmax, 2, /*composed=*/true},
          {"softmax_scaled", with(plain,
                                  [](RouterConfig& c) {
                                    c.renormalise = false;
                                    c.scale = 2.5;
                                    c.balance.importance_loss = 0.3;
                                    c.balance.entropy_loss = 0.2;
                                  })},
          {"softmax_mlp", with(plain,
                               [](RouterConfig& c) {
                                 c.top_k_first = true;
                                 c.gate = {.kind = "mlp", .width = 5};
                                 c.balance.over = "sequence";
                               })},
          {"softmax_jitter", with(plain, [](RouterConfig& c) { c.balance.jitter = 0.1; })},
          {"sigmoid",
           with(plain,
                [](RouterConfig& c) {
                  c.kind = "sigmoid";
                  c.groups = 3;
                  c.groups_per_token = 2;
                  c.scale = 2.5;
                  c.balance.over = "sequence";
                  c.balance.bias_rate = 0.1;
                }),
           3},
          {"noisy_top_k", with(unbalanced("noisy_top_k"),
                               [](RouterConfig& c) {
                                 c.balance.importance_loss = 0.3;
                                 c.load_loss = 0.4;
                               })},
          {"top_p",
           with(plain,
                [](RouterConfig& c) {
                  c.kind = "top_p";
                  c.probability = 0.6;
                }),
           4},
          {"expert_choice", with(unbalanced("expert_choice"),
                                 [](RouterConfig& c) {
                                   c.renormalise = false;
                                   c.z_loss = 0.25;
                                 })},
          {"sinkhorn", with(unbalanced("sinkhorn"),
                            [](RouterConfig& c) {
                              c.renormalise = false;
                              c.iterations = 5;
                            })},
          {"hash", unbalanced("hash")},
          {"hash_random", with(unbalanced("hash"), [](RouterConfig& c) { c.table = "random"; })},
          {"supervised", with(softmax,
                              [](RouterConfig& c) {
                                c.kind = "supervised";
                                c.labels = 3;
                                c.label_loss = 0.7;
                              })},
          {"capacity_score", capacity("score")},
          {"capacity_position", capacity("position")},
          {"capacity_random", capacity("random")},
          {"bayesian", with(plain,
                            [](RouterConfig& c) {
                              c.kind = "bayesian";
                              c.bayesian.clusters = 2;
                              c.bayesian.explore = "ucb";
                              c.bayesian.strength = 1.5;
                              c.bayesian.forgetting = 0.9;
                            })},
          {"dense", with(unbalanced("dense"), [](RouterConfig& c) { c.z_loss = 0.25; }), 6},
          {"dense_neural",
           with(unbalanced("dense"),
                [](RouterConfig& c) {
                  c.combination = "neural";
                  c.z_loss = 0.25;
                  c.gate = {.kind = "mlp", .width = 5};
                }),
           6},
          {"dense_linear", with(unbalanced("dense"), [](RouterConfig& c) { c.combination = "linear"; }), 6}};
}

using Tensors = std::map<std::string, at::Tensor>;

const Tensors& golden() {
  static const Tensors tensors = read_golden("routers.safetensors");
  return tensors;
}

// Slots' weights at their place in [T,E], with autograd.
at::Tensor dense_weights(const Routing& routing) {
  const Choice choice{.offsets = routing.offsets, .experts = routing.experts, .kept = {}};
  const int64_t tokens = routing.offsets.size(0) - 1;
  const at::Tensor places = slot_tokens(choice) * kExperts + routing.experts;
  return at::zeros({tokens * kExperts}, at::kDouble).index_add(0, places, routing.weights).view({tokens, kExperts});
}

std::unique_ptr<Router> make(const Case& c, const Mesh& mesh) {
  const MoeConfig config{.experts = kExperts, .experts_per_token = c.experts_per_token, .router = c.router};
  throw_if_error(config.validate());
  const BuildContext context{.mesh = mesh, .dtype = at::kDouble, .init_scale = 1, .residual_init_scale = 1, .seed = 7};
  EXPECT_TRUE(c.composed || has_fused_kernel(config.router) == (c.name == "softmax"));
  auto router =
      c.composed ? compose_router("moe", kWidth, config, context) : make_router("moe", kWidth, config, context);
  const at::NoGradGuard no_grad;
  for (Parameter* parameter : router->parameters()) {
    parameter->value().copy_(golden().at(absl::StrCat(c.name, ".parameter.", parameter->name())));
  }
  attach_plain_gradients(router->parameters());
  for (const RouterBuffer& buffer : router->buffers()) {
    if (buffer.name == "moe.router.bias") buffer.value.copy_(at::tensor({0.3, -0.2, 0.1, 0.25, -0.3, 0.0}));
    if (buffer.name == "moe.router.posterior") buffer.value.copy_(golden().at("bayesian.counts"));
  }
  return router;
}

struct Result {
  std::vector<at::Tensor> weights, dx;
  Tensors gradients;
  std::map<std::string, std::vector<at::Tensor>> buffers;  // after the step, on each rank
  RouterStatistics statistics;
  double loss = 0;
};

Result run(const Case& c, const MeshShape& shape) {
  Result result;
  result.weights.resize(shape.ranks());
  result.dx.resize(shape.ranks());
  std::mutex mutex;
  run_mesh(shape, [&](const Mesh& mesh) {
    const int rank = mesh.world().rank();
    const auto [begin, end] = cut(kTokens, shape.ranks(), rank);
    const auto share = [begin = begin, end = end](const char* name) {
      return golden().at(name).narrow(0, begin, end - begin);
    };
    const auto router = make(c, mesh);
    const at::Tensor x = share("x").clone().set_requires_grad(true);
    const RouterOutput output = router->route(x, {.tokens = share("tokens"),
                                                  .tags = share("tags"),
                                                  .sequence = 6,
                                                  .first_token = begin,
                                                  .population = kTokens,
                                                  .part = 1,
                                                  .parts = 2,
                                                  .step = 3});
    const at::Tensor weights = dense_weights(output.routing);
    const at::Tensor total = (weights * share("g")).sum() + output.auxiliary_loss;
    if (total.requires_grad()) total.backward();
    router->finish_step();

    const std::lock_guard lock(mutex);
    result.weights[rank] = weights.detach();
    result.dx[rank] = x.grad().defined() ? x.grad() : at::zeros_like(x);
    result.loss += output.auxiliary_loss.item<double>();
    for (const Parameter* parameter : router->parameters()) {
      at::Tensor& sum = result.gradients[parameter->name()];
      sum = sum.defined() ? sum + parameter->gradient() : parameter->gradient();
    }
    for (const RouterBuffer& buffer : router->buffers()) result.buffers[buffer.name].push_back(buffer.value);
    if (rank == 0) result.statistics = output.statistics;
  });
  return result;
}

class GoldenRouter : public ::testing::TestWithParam<Case> {};

TEST_P(GoldenRouter, MatchesPyTorchOnEveryCutOfThePopulation) {
  const Case& c = GetParam();
  const auto of = [&](const std::string& key) { return golden().at(c.name + "." + key); };
  const auto close = [](const at::Tensor& a, const at::Tensor& b) { return at::allclose(a, b, 1e-10, 1e-12); };
  for (const MeshShape& shape : {mesh_shape(1), mesh_shape(2), mesh_shape(3), mesh_shape(4, 2), mesh_shape(5)}) {
    SCOPED_TRACE(describe(shape));
    const Result result = run(c, shape);
    EXPECT_TRUE(close(at::cat(result.weights), of("weights")));
    const at::Tensor chosen_E = of("weights").gt(0).sum(0);
    if (c.router.capacity.factor > 0) {
      EXPECT_GT(result.statistics.dropped, 0) << "the test is blind";
      EXPECT_EQ(result.statistics.dropped + chosen_E.sum().item<int64_t>(), kTokens * c.experts_per_token);
    } else if (c.name != "dense_linear") {
      EXPECT_TRUE(at::equal(at::tensor(result.statistics.tokens_per_expert), chosen_E));
    }
    for (const auto& [name, gradient] : result.gradients) {
      EXPECT_TRUE(close(gradient, of("gradient." + name))) << name;
      EXPECT_GT(gradient.abs().max().item<double>(), 0) << name;
    }
    if (!result.gradients.empty()) {
      EXPECT_TRUE(close(at::cat(result.dx), of("dx")));
    }
    for (const auto& [name, loss] : result.statistics.losses) {
      EXPECT_NEAR(loss, of("loss." + name).item<double>(), 1e-12) << name;
    }
    for (const auto& [name, values] : result.buffers) {
      if (name == "moe.router.calibration") continue;
      for (const at::Tensor& value : values) {
        EXPECT_TRUE(at::allclose(value.to(at::kDouble), of("after." + name), 1e-6, 1e-6)) << name;
      }
    }
    if (c.name == "supervised") {
      EXPECT_DOUBLE_EQ(result.statistics.scalars.at("routing_accuracy"), of("accuracy").item<double>());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, GoldenRouter, ::testing::ValuesIn(cases()), [](const auto& tested) {
  return tested.param.name + (tested.param.composed ? "_composed" : "");
});

}  // namespace
}  // namespace switchyard
