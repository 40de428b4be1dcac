// Every kind of router against tests/golden/make_routers.py: weights, losses and gradients in training, weights and
// losses in evaluation; whole and cut over ranks.

#include "tests/support/golden.h"

#include <mutex>
#include <tuple>

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
  const auto bayesian = [&](const char* explore) {
    return with(plain, [&](RouterConfig& c) {
      c.kind = "bayesian";
      c.bayesian.clusters = 2;
      c.bayesian.explore = explore;
      if (c.bayesian.explore == "ucb") c.bayesian.strength = 1.5;
      c.bayesian.forgetting = 0.9;
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
          {"softmax_jitter", with(softmax, [](RouterConfig& c) { c.balance.jitter = 0.1; })},
          {"softmax_running", with(plain, [](RouterConfig& c) { c.balance.over = "running"; })},
          {"softmax_bias", with(plain, [](RouterConfig& c) { c.balance.bias_rate = 0.1; })},
          {"sigmoid",
           with(plain,
                [](RouterConfig& c) {
                  c.kind = "sigmoid";
                  c.groups = 3;
                  c.groups_per_token = 2;
                  c.scale = 2.5;
                  c.balance.over = "sequence";
                  c.balance.bias_rate = 0.1;
                  c.balance.entropy_loss = 0.2;
                }),
           3},
          {"noisy_top_k", with(unbalanced("noisy_top_k"),
                               [](RouterConfig& c) {
                                 c.balance.importance_loss = 0.3;
                                 c.balance.entropy_loss = 0.2;
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
          {"bayesian", bayesian("ucb")},
          {"bayesian_thompson", bayesian("thompson")},
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

// A rank's tokens of a population that is cut over all ranks.
struct Share {
  int64_t begin, end;

  explicit Share(const Mesh& mesh) { std::tie(begin, end) = cut(kTokens, mesh.shape().ranks(), mesh.world().rank()); }
  at::Tensor of(const char* name) const { return golden().at(name).narrow(0, begin, end - begin); }
  TokenContext context(int64_t step, int64_t part, bool training = true) const {
    return {.tokens = of("tokens"),
            .tags = of("tags"),
            .sequence = 6,
            .first_token = begin,
            .population = kTokens,
            .part = part,
            .parts = 2,
            .step = step,
            .training = training};
  }
};

// What running counts have to remember, once where a part is computed twice.
void route_earlier_part(Router& router, const Share& share) {
  for (int i = 0; i < 2; ++i) router.route(-share.of("x"), share.context(3, 0));
}

struct Result {
  std::vector<at::Tensor> weights, dx;
  Tensors gradients;
  std::map<std::string, std::vector<at::Tensor>> buffers;  // after the step, on each rank
  RouterStatistics statistics;
  std::map<std::string, double> scalars_after;  // the step
};

Result run(const Case& c, const MeshShape& shape) {
  Result result;
  result.weights.resize(shape.ranks());
  result.dx.resize(shape.ranks());
  std::mutex mutex;
  run_mesh(shape, [&](const Mesh& mesh) {
    const int rank = mesh.world().rank();
    const Share share(mesh);
    const auto router = make(c, mesh);
    if (c.router.balance.over == "running") route_earlier_part(*router, share);
    const at::Tensor x = share.of("x").clone().set_requires_grad(true);
    const RouterOutput output = router->route(x, share.context(3, 1));
    const at::Tensor weights = dense_weights(output.routing);
    const at::Tensor total = (weights * share.of("g")).sum() + output.auxiliary_loss;
    if (total.requires_grad()) total.backward();
    router->finish_step();
    const at::NoGradGuard no_grad;
    const std::map<std::string, double> scalars = router->route(x, share.context(4, 0)).statistics.scalars;

    const std::lock_guard lock(mutex);
    result.weights[rank] = weights.detach();
    result.dx[rank] = x.grad().defined() ? x.grad() : at::zeros_like(x);
    for (const Parameter* parameter : router->parameters()) {
      at::Tensor& sum = result.gradients[parameter->name()];
      sum = sum.defined() ? sum + parameter->gradient() : parameter->gradient();
    }
    for (const RouterBuffer& buffer : router->buffers()) result.buffers[buffer.name].push_back(buffer.value);
    if (rank != 0) return;
    result.statistics = output.statistics;
    result.scalars_after = scalars;
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
    if (c.router.kind == "bayesian") {
      EXPECT_EQ(result.statistics.scalars.count("calibration_error"), 0) << "before any outcome";
      EXPECT_NEAR(result.scalars_after.at("calibration_error"), of("calibration_error").item<double>(), 1e-12);
    }
    if (c.name == "supervised") {
      EXPECT_DOUBLE_EQ(result.statistics.scalars.at("routing_accuracy"), of("accuracy").item<double>());
    }
  }
}

// Without noise, jitter, exploration, assignment or counts of other parts.
TEST(RoutersInEvaluation, MatchesPyTorchInEvaluation) {
  int tested = 0;
  for (const Case& c : cases()) {
    if (!golden().contains(c.name + ".evaluation.weights")) continue;
    SCOPED_TRACE(c.name);
    ++tested;
    const auto of = [&](const std::string& key) { return golden().at(c.name + ".evaluation." + key); };
    for (const int ranks : {1, 3}) {
      std::vector<at::Tensor> weights(ranks);
      run_mesh(mesh_shape(ranks), [&](const Mesh& mesh) {
        const at::NoGradGuard no_grad;
        const Share share(mesh);
        const auto router = make(c, mesh);
        route_earlier_part(*router, share);
        const RouterOutput output = router->route(share.of("x"), share.context(3, 1, /*training=*/false));
        weights[mesh.world().rank()] = dense_weights(output.routing);
        for (const auto& [name, loss] : output.statistics.losses) {
          EXPECT_NEAR(loss, of("loss." + name).item<double>(), 1e-12) << name;
        }
      });
      EXPECT_TRUE(at::allclose(at::cat(weights), of("weights"), 1e-10, 1e-12));
      const auto differs = [&](const char* key) { return !at::allclose(of(key), golden().at(c.name + "." + key)); };
      EXPECT_TRUE(differs("weights") || differs("loss.aux_loss")) << "the test is blind";
    }
  }
  EXPECT_EQ(tested, 5);
}

// Neither a choice in evaluation nor one computed twice moves it again.
TEST(LoadBias, MovesByTheStepsTrainingAlone) {
  for (const Case& c : cases()) {
    if (c.router.balance.bias_rate == 0) continue;
    SCOPED_TRACE(c.name);
    run_mesh(mesh_shape(2), [&](const Mesh& mesh) {
      const Share share(mesh);
      const auto router = make(c, mesh);
      const at::Tensor other = share.of("x").roll(1, 1);
      for (int part = 1; part < 4; ++part) router->route(other, share.context(2, part));  // of a skipped step
      for (int i = 0; i < 2; ++i) router->route(share.of("x"), share.context(3, 0));
      router->route(other, share.context(3, 1, /*training=*/false));
      router->finish_step();
      const at::Tensor expected = golden().at(c.name + ".after.moe.router.bias");
      EXPECT_TRUE(at::allclose(router->buffers()[0].value.to(at::kDouble), expected, 1e-6, 1e-6));
      router->route(other, share.context(3, 2, /*training=*/false));
      router->finish_step();
      EXPECT_TRUE(at::allclose(router->buffers()[0].value.to(at::kDouble), expected, 1e-6, 1e-6));
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, GoldenRouter, ::testing::ValuesIn(cases()), [](const auto& tested) {
  return tested.param.name + (tested.param.composed ? "_composed" : "");
});

}  // namespace
}  // namespace switchyard
