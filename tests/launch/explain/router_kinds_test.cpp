// What the trace says of each kind of router, worked by hand. The gate is the identity, so that inputs are logits.
#include <cmath>
#include <functional>
#include <limits>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/explain/choice_description.h"
#include "launch/explain/routing_trace.h"
#include "layers/moe/router/make_router.h"
#include "runtime/base/status.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::Ge;
using testing::IsNan;
using testing::NanSensitiveDoubleNear;
using testing::Pointwise;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

auto near(std::vector<double> values) {
  return Pointwise(NanSensitiveDoubleNear(1e-12), std::move(values));
}

// Of logits_TE in evaluation, cut over `ranks`. `prepare` sets what the router believes.
LayerTrace trace_of(
    const MoeConfig& config, const at::Tensor& logits_TE, const std::function<void(Router&)>& prepare = [](Router&) {},
    int ranks = 1) {
  throw_if_error(config.validate());
  const int64_t tokens = logits_TE.size(0), experts = logits_TE.size(1);
  LayerTrace result;
  run_mesh(mesh_shape(ranks), [&](const Mesh& mesh) {
    const at::NoGradGuard no_grad;
    RoutingRecorder recorder;
    const auto router = recorder.decorate(make_router(
        "moe", experts, config, {.mesh = mesh, .dtype = at::kDouble, .init_scale = 1, .residual_init_scale = 1}));
    for (Parameter* parameter : router->parameters()) parameter->value().copy_(at::eye(experts, at::kDouble));
    prepare(*router);
    const auto [begin, end] = cut(tokens, ranks, mesh.world().rank());
    (void)router->route(logits_TE.narrow(0, begin, end - begin), {.tokens = at::arange(begin, end, at::kLong),
                                                                  .tags = {},
                                                                  .sequence = tokens,
                                                                  .first_token = begin,
                                                                  .population = tokens,
                                                                  .training = false});
    std::vector<LayerTrace> traces(1);
    traces[0].experts = experts;
    traces[0].experts_choose = describe_choice(config).experts_choose;
    throw_if_error(recorder.append(mesh.world(), traces));
    if (mesh.world().rank() == 0) result = traces[0];
  });
  return result;
}

MoeConfig config_of(const std::string& kind, int64_t experts, int64_t experts_per_token) {
  MoeConfig config{.experts = experts, .experts_per_token = experts_per_token, .router = {}};
  config.router.kind = kind;
  config.router.aux_loss = config.router.z_loss = 0;
  return config;
}

at::Tensor rows(std::vector<double> values, int64_t experts) {
  return at::tensor(values, at::kDouble).view({-1, experts});
}

TEST(RouterKinds, SigmoidIsByScoreAndBiasWithinTheBestGroups) {
  const at::Tensor scores_TE = rows({0.6, 0.2, 0.9, 0.1}, 4);
  MoeConfig config = config_of("sigmoid", 4, 1);
  config.router.groups = 2;
  config.router.groups_per_token = 1;
  config.router.balance.bias_rate = 0.1;
  const auto bias = [](Router& router) {
    ASSERT_EQ(router.buffers().size(), 1);
    router.buffers()[0].value.copy_(at::tensor({0.0, 0.5, 0.0, 0.0}));
  };
  // 0.6 and 0.2 + 0.5 are together more than 0.9 and 0.1, so that expert 2 is no candidate.
  const LayerTrace one = trace_of(config, at::logit(scores_TE), bias);
  EXPECT_THAT(one.chosen, ElementsAre(1));
  EXPECT_THAT(one.probabilities, near({0.2 / 1.8}));
  EXPECT_THAT(one.scores, near({0.7}));
  EXPECT_THAT(one.margins, near({0.1}));

  config.experts_per_token = 2;
  const LayerTrace both = trace_of(config, at::logit(scores_TE), bias);
  EXPECT_THAT(both.chosen, ElementsAre(1, 0));
  EXPECT_THAT(both.scores, near({0.7, 0.6}));
  EXPECT_THAT(both.margins, near({kNone, kNone}));
}

TEST(RouterKinds, BayesianIsByProbabilityTimesTheMeanChance) {
  MoeConfig config = config_of("bayesian", 3, 1);
  config.router.bayesian.clusters = 1;
  const LayerTrace trace = trace_of(config, at::log(rows({0.6, 0.3, 0.1}, 3)), [](Router& router) {
    for (const RouterBuffer& buffer : router.buffers()) {  // good and bad outcomes: chances 1/4, 3/4 and 1/2
      if (buffer.value.numel() == 6) buffer.value.copy_(at::tensor({1, 3, 1, 3, 1, 1}).view({2, 1, 3}));
    }
  });
  EXPECT_THAT(trace.chosen, ElementsAre(1));
  EXPECT_THAT(trace.probabilities, near({0.3}));
  EXPECT_THAT(trace.scores, near({0.225}));
  EXPECT_THAT(trace.margins, near({0.075}));
}

TEST(RouterKinds, ExpertsThatChooseAreMeasuredByTheTokensTheyLeft) {
  const MoeConfig config = config_of("expert_choice", 2, 1);
  const at::Tensor p_TE = rows({0.9, 0.1, 0.6, 0.4, 0.7, 0.3, 0.2, 0.8}, 2);
  for (const int ranks : {1, 2, 3}) {  // two tokens an expert, whoever holds them
    const LayerTrace trace = trace_of(
        config, at::log(p_TE), [](Router&) {}, ranks);
    EXPECT_THAT(trace.offsets, ElementsAre(0, 1, 2, 3, 4));
    EXPECT_THAT(trace.chosen, ElementsAre(0, 1, 0, 1));
    EXPECT_THAT(trace.scores, near({0.9, 0.4, 0.7, 0.8}));
    EXPECT_THAT(trace.margins, near({0.3, 0.1, 0.1, 0.5}));
  }
}

TEST(RouterKinds, ACapacityDropsSlotsThatWereChosen) {
  MoeConfig config = config_of("softmax", 2, 1);
  config.router.renormalise = false;
  config.router.capacity.factor = 1;
  const LayerTrace trace = trace_of(config, at::log(rows({0.9, 0.1, 0.7, 0.3, 0.8, 0.2, 0.4, 0.6}, 2)));
  EXPECT_THAT(trace.offsets, ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(trace.chosen, ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(trace.kept, ElementsAre(true, false, true, true));
  EXPECT_THAT(trace.weights, near({0.9, 0, 0.8, 0.6}));
  EXPECT_THAT(trace.probabilities, near({0.9, 0.7, 0.8, 0.6}));
  EXPECT_THAT(trace.margins, near({0.8, 0.4, 0.6, 0.2}));
}

TEST(RouterKinds, TopPIsByProbability) {
  MoeConfig config = config_of("top_p", 3, 3);
  config.router.probability = 0.6;
  const LayerTrace trace = trace_of(config, at::log(rows({0.3, 0.5, 0.2}, 3)));
  EXPECT_THAT(trace.chosen, ElementsAre(1, 0));
  EXPECT_THAT(trace.margins, near({0.3, 0.1}));
}

// Scores where the description names one, none where it says that nothing is compared; and what was chosen is ahead.
TEST(RouterKinds, DescriptionAndScoresAgree) {
  const at::Tensor logits_TE = at::sin(at::arange(12 * 6, at::kDouble) * 1.7).view({12, 6});
  const std::map<std::string, std::string> scores = {{"softmax", "probability"},
                                                     {"supervised", "probability"},
                                                     {"sigmoid", "sigmoid"},
                                                     {"noisy_top_k", "logit"},
                                                     {"top_p", "probability"},
                                                     {"expert_choice", "probability"},
                                                     {"sinkhorn", "logit"},
                                                     {"bayesian", "probability × chance"},
                                                     {"hash", ""},
                                                     {"dense", ""}};
  for (const auto& [kind, score] : scores) {
    SCOPED_TRACE(kind);
    const MoeConfig config = config_of(kind, 6, kind == "dense" ? 6 : 2);
    const ChoiceDescription description = describe_choice(config);
    EXPECT_EQ(description.score, score);
    EXPECT_FALSE(description.how.empty());
    const LayerTrace trace = trace_of(config, logits_TE);
    EXPECT_FALSE(trace.chosen.empty());
    EXPECT_EQ(std::isnan(trace.entropy), kind == "hash");
    if (score.empty()) {
      EXPECT_THAT(trace.scores, Each(IsNan()));
      EXPECT_THAT(trace.margins, Each(IsNan()));
    } else {
      EXPECT_THAT(trace.margins, Each(Ge(0)));
    }
  }
}

TEST(RouterKinds, ForcedBalanceComparesNothing) {
  MoeConfig config = config_of("softmax", 2, 1);
  config.router.balance.force = true;
  EXPECT_EQ(describe_choice(config).score, "");
  for (const double factor : {0.0, 1.0}) {  // with a kernel of its own, and without
    config.router.capacity.factor = factor;
    EXPECT_THAT(trace_of(config, at::log(rows({0.9, 0.1, 0.8, 0.2}, 2))).scores, near({kNone, kNone}));
  }
}

}  // namespace
}  // namespace switchyard
