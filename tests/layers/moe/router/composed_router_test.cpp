// What every kind of router owes its callers whatever it chooses by: it tells of logits that are not finite, its loss
// is 1 where loads are forced to be even, its entropy loss is the entropy that it reports.
#include "layers/moe/router/composed_router.h"

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "layers/moe/router/make_router.h"
#include "layers/moe/router/selection.h"
#include "parallel/parameter/initialise.h"
#include "runtime/base/status.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

constexpr int64_t kTokens = 24, kWidth = 8, kExperts = 6, kSequence = 6;

// The kinds with a gate.
struct Kind {
  std::string name;
  RouterConfig router;
  int64_t experts_per_token = 2;
  bool balanced = true;  // has a load-balance loss and a choice that balance.force can take the place of
};

void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

std::vector<Kind> kinds() {
  const auto of = [](const char* kind, auto change) {
    RouterConfig config;
    config.kind = kind;
    change(config);
    return config;
  };
  const auto nothing = [](RouterConfig&) {};
  const auto no_balance = [](RouterConfig& c) { c.aux_loss = 0; };
  return {{"softmax", of("softmax", nothing)},
          {"sigmoid", of("sigmoid", [](RouterConfig& c) { c.groups = 3, c.groups_per_token = 2; })},
          {"noisy_top_k", of("noisy_top_k", nothing)},
          {"sinkhorn", of("sinkhorn", nothing)},
          {"supervised", of("supervised", [](RouterConfig& c) { c.labels = 3; })},
          {"bayesian", of("bayesian", nothing)},
          {"top_p", of("top_p", nothing), 4, false},
          {"expert_choice", of("expert_choice", no_balance), 2, false},
          {"dense", of("dense", no_balance), kExperts, false},
          {"dense_neural",
           of("dense",
              [](RouterConfig& c) {
                c.aux_loss = 0;
                c.combination = "neural";
                c.gate = {.kind = "mlp", .width = 5};
              }),
           kExperts, false}};
}

std::vector<Kind> balanced_kinds() {
  std::vector<Kind> all = kinds();
  std::erase_if(all, [](const Kind& kind) { return !kind.balanced; });
  return all;
}

std::unique_ptr<Router> make(const RouterConfig& router, int64_t experts_per_token, const Mesh& mesh) {
  const MoeConfig config{.experts = kExperts, .experts_per_token = experts_per_token, .router = router};
  throw_if_error(config.validate());
  auto made =
      compose_router("moe", kWidth, config,
                     BuildContext{.mesh = mesh, .dtype = at::kDouble, .init_scale = 0.4, .residual_init_scale = 1});
  initialise_values(made->parameters(), 5);
  attach_plain_gradients(made->parameters());
  return made;
}

// A rank's tokens of the population.
struct Share {
  at::Tensor x_TD;
  TokenContext context;

  explicit Share(const Mesh& mesh) {
    const auto [begin, end] = cut(kTokens, mesh.shape().ranks(), mesh.world().rank());
    x_TD =
        at::sin(at::arange(kTokens * kWidth, at::kDouble) * 1.3).view({kTokens, kWidth}).narrow(0, begin, end - begin);
    context = {.tokens = {},
               .tags = at::remainder(at::arange(begin, end, at::kLong), 3),
               .sequence = kSequence,
               .first_token = begin,
               .population = kTokens};
  }
};

void expect_distinct_experts(const Routing& routing) {
  const at::Tensor tokens_N = slot_tokens({.offsets = routing.offsets, .experts = routing.experts, .kept = {}});
  std::set<std::pair<int64_t, int64_t>> slots;
  for (int64_t i = 0; i < routing.experts.numel(); ++i) {
    const auto expert = routing.experts[i].item<int64_t>();
    EXPECT_TRUE(expert >= 0 && expert < kExperts) << expert;
    EXPECT_TRUE(slots.emplace(tokens_N[i].item<int64_t>(), expert).second) << "twice expert " << expert;
  }
  EXPECT_EQ(routing.weights.numel(), routing.experts.numel());
}

void expect_told_of_rank_1(const RouterOutput& output) {
  EXPECT_EQ(output.statistics.not_finite, 1);
  EXPECT_TRUE(std::isnan(output.auxiliary_loss.item<double>()));
  expect_distinct_experts(output.routing);
}

class EveryKind : public testing::TestWithParam<Kind> {};
class ForcedBalance : public testing::TestWithParam<Kind> {};

TEST_P(EveryKind, TellsAllRanksWhoseLogitsAreNotFinite) {
  for (const double bad : {NAN, INFINITY, -INFINITY}) {
    for (const bool training : {true, false}) {
      SCOPED_TRACE(absl::StrCat(bad, training ? " in training" : " in evaluation"));
      run_mesh(mesh_shape(3), [&](const Mesh& mesh) {
        const auto router = make(GetParam().router, GetParam().experts_per_token, mesh);
        Share share(mesh);
        share.context.training = training;
        EXPECT_EQ(router->route(share.x_TD, share.context).statistics.not_finite, -1);
        at::Tensor x = share.x_TD.clone();
        if (mesh.world().rank() > 0) x[2][1] = bad;
        expect_told_of_rank_1(router->route(x, share.context));
      });
    }
  }
}

TEST_P(EveryKind, HasAnEntropyLossThatIsTheEntropy) {
  RouterConfig config = GetParam().router;
  config.balance.entropy_loss = 1;
  for (const bool training : {true, false}) {
    run_mesh(mesh_shape(3), [&](const Mesh& mesh) {
      const auto router = make(config, GetParam().experts_per_token, mesh);
      Share share(mesh);
      share.context.training = training;
      const RouterStatistics statistics = router->route(share.x_TD, share.context).statistics;
      EXPECT_GT(statistics.entropy, 0.1);
      EXPECT_NEAR(statistics.losses.at("entropy_loss"), statistics.entropy, 1e-13);
    });
  }
}

// Probabilities that are 0 exactly.
TEST_P(EveryKind, HasAFiniteGradientOfEntropyWhereTheGateIsSure) {
  RouterConfig config = GetParam().router;
  config.z_loss = 0;
  config.balance.entropy_loss = 1;
  run_mesh(mesh_shape(1), [&](const Mesh& mesh) {
    const auto router = make(config, GetParam().experts_per_token, mesh);
    const Share share(mesh);
    const RouterOutput output = router->route(share.x_TD * 1e5, share.context);
    ASSERT_GT(output.probabilities_TE.eq(0).sum().item<int64_t>(), 0) << "the test is blind";
    output.auxiliary_loss.backward();
    for (const Parameter* parameter : router->parameters()) {
      EXPECT_TRUE(at::isfinite(parameter->gradient()).all().item<bool>()) << parameter->name();
    }
  });
}

TEST_P(ForcedBalance, HasALossOfOne) {
  RouterConfig config = GetParam().router;
  config.balance.force = true;
  for (const char* over : {"population", "sequence", "running"}) {
    config.balance.over = over;
    for (const int ranks : {1, 3}) {
      SCOPED_TRACE(absl::StrCat(over, " on ", ranks, " ranks"));
      run_mesh(mesh_shape(ranks), [&](const Mesh& mesh) {
        const auto router = make(config, GetParam().experts_per_token, mesh);
        const Share share(mesh);
        const RouterStatistics statistics = router->route(share.x_TD, share.context).statistics;
        EXPECT_NEAR(statistics.losses.at("aux_loss"), 1, 1e-14);
        EXPECT_EQ(statistics.tokens_per_expert, std::vector<int64_t>(kExperts, kTokens * 2 / kExperts));
      });
    }
  }
}

std::string name_of(const testing::TestParamInfo<Kind>& kind) {
  return kind.param.name;
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryKind, testing::ValuesIn(kinds()), name_of);
INSTANTIATE_TEST_SUITE_P(Kinds, ForcedBalance, testing::ValuesIn(balanced_kinds()), name_of);

// The gate's logits are finite, and softplus(−∞) leaves scores that are, too.
TEST(NoisyTopK, TellsOfNoiseThatIsNotFinite) {
  RouterConfig config;
  config.kind = "noisy_top_k";
  run_mesh(mesh_shape(3), [&](const Mesh& mesh) {
    const auto router = make(config, 2, mesh);
    const at::NoGradGuard no_grad;
    router->parameters()[1]->value().fill_(1e308);
    const Share share(mesh);
    const at::Tensor x = at::full_like(share.x_TD, mesh.world().rank() > 0 ? -10 : 0);
    const RouterOutput output = router->route(x, share.context);
    ASSERT_TRUE(std::isfinite(output.statistics.entropy)) << "the test is blind";
    expect_told_of_rank_1(output);
  });
}

TEST(ComposedRouter, PadsEveryExpertToItsCapacity) {
  for (const bool pad : {true, false}) {
    for (const int ranks : {1, 3}) {
      run_mesh(mesh_shape(ranks), [&](const Mesh& mesh) {
        RouterConfig config;
        config.capacity = {.factor = 1.25, .pad = pad};
        const Share share(mesh);
        const RouterOutput output = make(config, 2, mesh)->route(share.x_TD, share.context);
        EXPECT_EQ(output.rows_per_expert, pad ? 10 : 0) << "1.25 · 24 · 2 / 6";
      });
    }
  }
}

}  // namespace
}  // namespace switchyard
