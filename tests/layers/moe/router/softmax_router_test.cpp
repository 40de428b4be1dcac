// The softmax router against plain ATen operations under autograd on the whole population, over ranks as threads.
#include "layers/moe/router/softmax_router.h"

#include <cmath>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "layers/moe/router/selection.h"
#include "layers/moe/router/softmax_top_k.h"
#include "parallel/parameter/initialise.h"
#include "runtime/numerics/precision.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

constexpr int64_t kWidth = 24;
constexpr int64_t kParts = 2;

RouterConfig config_of(double aux_loss, double z_loss, bool renormalise = true) {
  RouterConfig config;
  config.renormalise = renormalise;
  config.aux_loss = aux_loss;
  config.z_loss = z_loss;
  return config;
}

struct Case {
  std::string name;
  at::ScalarType dtype = at::kDouble;
  int64_t tokens = 41;
  int64_t experts = 7;
  int64_t experts_per_token = 3;
  RouterConfig config = config_of(0.5, 0.25);
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

std::vector<Case> cases() {
  return {{.name = "renormalised"},
          {.name = "as_they_are", .config = config_of(0.5, 0.25, false)},
          {.name = "without_losses", .config = config_of(0, 0)},
          {.name = "balance_only", .config = config_of(3, 0)},
          {.name = "one_choice", .experts_per_token = 1},
          {.name = "all_experts", .experts_per_token = 7},
          {.name = "fewer_tokens_than_ranks", .tokens = 2},
          {.name = "many_tokens", .tokens = 700, .experts = 33},
          {.name = "fp32", .dtype = at::kFloat},
          {.name = "bf16", .dtype = at::kBFloat16, .tokens = 300}};
}

struct Result {
  at::Tensor weights_N, experts_N, dx_TD, dgate_ED;
  double loss = 0;
  RouterStatistics statistics;
};

struct Population {
  at::Tensor x_TD, g_N;
};

Population make_population(const Case& c) {
  at::Tensor x = at::sin(at::arange(c.tokens * kWidth, at::kDouble) * 1.3).view({c.tokens, kWidth}) * 2;
  at::Tensor g = at::cos(at::arange(c.tokens * c.experts_per_token, at::kDouble) * 0.7);
  return {x.to(c.dtype), g.to(accumulate_dtype(c.dtype))};
}

std::unique_ptr<SoftmaxRouter> make_router(const Case& c, const Mesh& mesh) {
  auto router = std::make_unique<SoftmaxRouter>(
      "moe", kWidth, MoeConfig{.experts = c.experts, .experts_per_token = c.experts_per_token, .router = c.config},
      BuildContext{.mesh = mesh, .dtype = c.dtype, .init_scale = 0.4, .residual_init_scale = 1});
  initialise_values(router->parameters(), 5);
  attach_plain_gradients(router->parameters());
  return router;
}

// The population cut over `ranks`; what the ranks hold put together again, their shares summed.
Result run(const Case& c, int ranks) {
  const Population population = make_population(c);
  std::vector<Result> parts(ranks);
  run_mesh(mesh_shape(ranks), [&](const Mesh& mesh) {
    const int rank = mesh.world().rank();
    const auto [begin, end] = cut(c.tokens, ranks, rank);
    const auto router = make_router(c, mesh);
    const at::Tensor x = population.x_TD.narrow(0, begin, end - begin).clone().set_requires_grad(true);
    const int64_t k = c.experts_per_token;
    RouterOutput output =
        router->route(x, {.tokens = {}, .tags = {}, .first_token = begin, .population = c.tokens, .parts = kParts});
    EXPECT_TRUE(at::equal(output.routing.offsets, at::arange(end - begin + 1, at::kLong) * k));
    const at::Tensor g_N = population.g_N.narrow(0, begin * k, (end - begin) * k);
    ((output.routing.weights * g_N).sum() + output.auxiliary_loss).backward();
    parts[rank] = {
        output.routing.weights.detach(),      output.routing.experts, x.grad(), router->parameters()[0]->gradient(),
        output.auxiliary_loss.item<double>(), output.statistics};
  });
  Result whole = parts[0];
  for (int r = 1; r < ranks; ++r) {
    whole.weights_N = at::cat({whole.weights_N, parts[r].weights_N});
    whole.experts_N = at::cat({whole.experts_N, parts[r].experts_N});
    whole.dx_TD = at::cat({whole.dx_TD, parts[r].dx_TD});
    whole.dgate_ED = whole.dgate_ED + parts[r].dgate_ED;
    whole.loss += parts[r].loss;
    EXPECT_EQ(parts[r].statistics.losses["aux_loss"], parts[0].statistics.losses["aux_loss"]);
    EXPECT_EQ(parts[r].statistics.losses["z_loss"], parts[0].statistics.losses["z_loss"]);
    EXPECT_EQ(parts[r].statistics.tokens_per_expert, parts[0].statistics.tokens_per_expert);
  }
  return whole;
}

Result reference(const Case& c) {
  Result result;
  at::Tensor gate_ED;
  run_mesh(mesh_shape(1), [&](const Mesh& mesh) {
    gate_ED = make_router(c, mesh)->parameters()[0]->value().detach().to(at::kDouble);
  });
  const Population population = make_population(c);
  const at::Tensor x = population.x_TD.to(at::kDouble).requires_grad_(true);
  gate_ED.requires_grad_(true);
  const auto experts = static_cast<double>(c.experts);
  const at::Tensor logits = at::mm(x, gate_ED.t());
  const at::Tensor p = at::softmax(logits, 1);
  auto [weights, ids] = at::topk(p, c.experts_per_token, 1);
  if (c.config.renormalise) weights = weights / weights.sum(1, true);
  const at::Tensor slots = at::bincount(ids.reshape(-1), {}, c.experts);
  const at::Tensor balance = experts * (slots.to(at::kDouble) / static_cast<double>(ids.numel()) * p.mean(0)).sum();
  const at::Tensor z = at::logsumexp(logits, 1).square().mean();
  const at::Tensor loss = (c.config.aux_loss * balance + c.config.z_loss * z) / kParts;
  ((weights.reshape(-1) * population.g_N.to(at::kDouble)).sum() + loss).backward();
  result = {weights.detach().reshape(-1), ids.reshape(-1), x.grad(), gate_ED.grad(), loss.item<double>(), {}};
  result.statistics.losses["aux_loss"] = balance.item<double>();
  result.statistics.losses["z_loss"] = z.item<double>();
  result.statistics.entropy = -(p * at::log_softmax(logits, 1)).sum(1).mean().item<double>();
  const int64_t* counts = slots.const_data_ptr<int64_t>();
  result.statistics.tokens_per_expert.assign(counts, counts + c.experts);
  return result;
}

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance, const char* what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  const double norm = expected.norm().item<double>();
  EXPECT_LE((actual.to(at::kDouble) - expected).norm().item<double>(), tolerance * norm) << what;
}

class SoftmaxRouting : public ::testing::TestWithParam<Case> {};

TEST_P(SoftmaxRouting, MatchesPlainOperationsOnEveryLayout) {
  const Case c = GetParam();
  Result expected = reference(c);
  const double tolerance = c.dtype == at::kDouble ? 1e-12 : 2e-6;
  for (int ranks : {1, 2, 3, 4}) {
    SCOPED_TRACE(absl::StrCat(ranks, " ranks"));
    Result actual = run(c, ranks);
    EXPECT_TRUE(at::equal(actual.experts_N, expected.experts_N));
    EXPECT_EQ(actual.statistics.tokens_per_expert, expected.statistics.tokens_per_expert);
    expect_close(actual.weights_N, expected.weights_N, tolerance, "weights");
    EXPECT_NEAR(actual.loss, expected.loss, tolerance * (1 + expected.loss));
    EXPECT_NEAR(actual.statistics.losses["aux_loss"], expected.statistics.losses["aux_loss"],
                tolerance * static_cast<double>(c.experts));
    EXPECT_NEAR(actual.statistics.losses["z_loss"], expected.statistics.losses["z_loss"],
                tolerance * (1 + expected.statistics.losses["z_loss"]));
    EXPECT_NEAR(actual.statistics.entropy, expected.statistics.entropy, tolerance * 4);
    // Under bf16 the gate's gradient comes from two bf16 terms, 16 bits, and dx is rounded to bf16.
    expect_close(actual.dgate_ED, expected.dgate_ED, c.dtype == at::kBFloat16 ? 2e-5 : tolerance, "gate");
    expect_close(actual.dx_TD, expected.dx_TD, c.dtype == at::kBFloat16 ? 1.0 / 256 : tolerance, "dx");
  }
}

TEST(SoftmaxRouter, TiesGoToTheLowerExpert) {
  run_mesh(mesh_shape(1), [](const Mesh& mesh) {
    const auto router = make_router({.name = "ties", .experts = 6}, mesh);
    const at::NoGradGuard no_grad;
    router->parameters()[0]->value().zero_();
    RouterOutput output =
        router->route(at::ones({5, kWidth}, at::kDouble), {.tokens = {}, .tags = {}, .population = 5});
    EXPECT_TRUE(at::equal(output.routing.experts.view({5, 3}), at::arange(3, at::kLong).expand({5, 3})));
    EXPECT_TRUE(at::allclose(output.routing.weights, at::full({15}, 1.0 / 3, at::kDouble)));
    EXPECT_DOUBLE_EQ(output.statistics.losses["aux_loss"], 1);  // equal probabilities, however the slots lie
  });
}

// A diverged model still routes: every token goes to distinct experts, so that the step can end and be refused.
TEST(SoftmaxRouter, ChoosesDistinctExpertsAmongNaNAndInfinity) {
  at::Tensor logits = at::zeros({4, 5}, at::kFloat);
  logits[0].fill_(NAN);
  logits[1].fill_(-INFINITY);
  logits[2].fill_(INFINITY);
  logits[3][1] = NAN;
  logits[3][2] = -INFINITY;
  const TopK chosen = softmax_top_k(logits, at::softmax(logits, 1), 4, true);
  EXPECT_TRUE(at::equal(chosen.experts_N, at::tensor({0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 3, 4, 1}, at::kLong)));
}

TEST(SoftmaxRouter, ChoosesAsAStableSortDoes) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    for (const auto& [tokens, experts, k] : {std::tuple{1, 1, 1}, {2, 16, 16}, {5, 37, 9}, {8, 64, 8}, {3, 200, 31}}) {
      const at::Tensor scores_TE = at::randint(-20, 20, {tokens, experts}, dtype);  // with ties
      const auto [sorted_TE, order_TE] = at::sort(scores_TE, /*stable=*/true, 1, /*descending=*/true);
      EXPECT_TRUE(at::equal(top_k(scores_TE, k).experts.view({tokens, k}), order_TE.narrow(1, 0, k)));
    }
  }
}

// Every expert has the same load, so that the loss is the sum of all mean probabilities.
TEST(SoftmaxRouter, ForcedBalanceHasALossOfOne) {
  Case c{.name = "forced", .tokens = 42};
  c.config.balance.force = true;
  for (int ranks : {1, 3}) {
    const Result result = run(c, ranks);
    EXPECT_NEAR(result.statistics.losses.at("aux_loss"), 1, 1e-14);
    EXPECT_EQ(result.statistics.tokens_per_expert, std::vector<int64_t>(7, 18));
  }
}

TEST(SoftmaxRouter, ReplaysExpertsForOnePart) {
  const Case c{.name = "replay"};
  run_mesh(mesh_shape(1), [&](const Mesh& mesh) {
    const auto router = make_router(c, mesh);
    const at::Tensor x = make_population(c).x_TD;
    const auto route = [&](int64_t part) {
      return router->route(x, {.tokens = {}, .tags = {}, .population = c.tokens, .part = part, .parts = kParts});
    };
    const RouterOutput chosen = route(0);
    const at::Tensor other = at::remainder(chosen.choice.experts + 1, c.experts);
    router->replay({.offsets = chosen.choice.offsets, .experts = other, .kept = {}});
    const RouterOutput replayed = route(0);
    EXPECT_TRUE(at::equal(replayed.routing.experts, other));
    EXPECT_EQ(replayed.statistics.tokens_per_expert[1], chosen.statistics.tokens_per_expert[0]);
    const at::Tensor p = at::softmax(at::mm(x, router->parameters()[0]->value().t()), 1).detach();
    const at::Tensor picked = p.gather(1, other.view({c.tokens, -1}));
    EXPECT_TRUE(at::allclose(replayed.routing.weights, (picked / picked.sum(1, true)).reshape(-1), 1e-12, 1e-12));
    EXPECT_TRUE(at::equal(route(0).routing.experts, other)) << "recomputation takes them too";
    EXPECT_TRUE(at::equal(route(1).routing.experts, chosen.routing.experts)) << "the next part chooses";
    EXPECT_TRUE(at::equal(route(0).routing.experts, chosen.routing.experts));
  });
}

TEST(SoftmaxRouter, AllRanksKnowWhoseLogitsAreNotFinite) {
  for (const double bad : {NAN, INFINITY}) {
    run_mesh(mesh_shape(3), [&](const Mesh& mesh) {
      const auto router = make_router({}, mesh);
      at::Tensor x = at::ones({4, kWidth}, at::kDouble);
      if (mesh.world().rank() > 0) x[2][1] = bad;
      const RouterOutput output = router->route(x, {.tokens = {}, .tags = {}, .population = 12});
      EXPECT_EQ(output.statistics.not_finite, 1);
      EXPECT_TRUE(std::isnan(output.auxiliary_loss.item<double>()));
    });
  }
  const at::Tensor logits = at::tensor({0.0, -INFINITY}, at::kDouble).view({1, 2});
  EXPECT_FALSE(std::isfinite(softmax_top_k(logits, at::softmax(logits, 1), 1, true).entropies));
}

TEST(SoftmaxRouter, TheGateIsReplicatedAndPartialOverItsPopulation) {
  run_mesh(mesh_shape(2, 2), [](const Mesh& mesh) {
    const auto router = make_router({}, mesh);
    const Parameter& gate = *router->parameters()[0];
    EXPECT_EQ(gate.name(), "moe.router");
    EXPECT_EQ(gate.slices()[0].spec.shape, (std::vector<int64_t>{7, kWidth}));
    EXPECT_EQ(gate.slices()[0].spec.replicated, (AxisSet{Axis::kData, Axis::kTensor}));
    EXPECT_EQ(gate.slices()[0].spec.partial, (AxisSet{Axis::kData, Axis::kTensor}));
  });
}

INSTANTIATE_TEST_SUITE_P(Cases, SoftmaxRouting, ::testing::ValuesIn(cases()),
                         [](const ::testing::TestParamInfo<Case>& tested) { return tested.param.name; });

}  // namespace
}  // namespace switchyard
