// Every router on every layout, by the code that `switchyard verify` runs.

#include <absl/strings/match.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/launch/verify/small_verification.h"

namespace switchyard {
namespace {

class Grid : public testing::TestWithParam<std::tuple<std::string, TestLayout>> {};

TEST_P(Grid, EqualsTheReferenceInFp64) {
  const auto& [kind, layout] = GetParam();
  SmallVerification what;
  what.use_router(kind);
  what.config.parallel = parallel_of(layout);
  const VerifyResult result = value_or_throw(what.run(layout.ranks));
  EXPECT_TRUE(result.pass()) << failures_of(result);
  EXPECT_EQ(result.steps, 2);
  EXPECT_EQ(absl::StrContains(result.reference, "routers"), kind == "bayesian") << result.reference;
  // Two tokens that are alike up to their position may tie for an expert's last place; rounding decides.
  if (kind != "expert_choice") {
    EXPECT_EQ(result.flips.flipped, 0);
  }
  for (const Row& row : result.rows) EXPECT_LT(row.bound, 1e-11) << quantity_name(row.quantity) << " of " << row.name;
}

INSTANTIATE_TEST_SUITE_P(Routers, Grid,
                         testing::Combine(testing::ValuesIn(router_kinds()), testing::ValuesIn(verified_layouts())),
                         [](const auto& test) {
                           return std::get<0>(test.param) + "_" + name_of(std::get<1>(test.param));
                         });

class Precisions : public testing::TestWithParam<std::tuple<std::string, std::string, TestLayout>> {};

TEST_P(Precisions, StayWithinTheirBounds) {
  const auto& [precision, kind, layout] = GetParam();
  SmallVerification what;
  what.use_router(kind);
  what.config.train.precision = precision;
  what.config.parallel = parallel_of(layout);
  const VerifyResult result = value_or_throw(what.run(layout.ranks));
  EXPECT_TRUE(result.pass()) << failures_of(result);
}

std::string name_of_precision(const testing::TestParamInfo<std::tuple<std::string, std::string, TestLayout>>& test) {
  const auto& [precision, kind, layout] = test.param;
  return precision + "_" + kind + "_" + name_of(layout);
}

INSTANTIATE_TEST_SUITE_P(Layouts, Precisions,
                         testing::Combine(testing::Values("fp32", "bf16"), testing::Values("softmax"),
                                          testing::ValuesIn(verified_layouts())),
                         name_of_precision);
INSTANTIATE_TEST_SUITE_P(Routers, Precisions,
                         testing::Combine(testing::Values("fp32", "bf16"), testing::ValuesIn(router_kinds()),
                                          testing::Values(TestLayout{4, 1, 2, 2})),
                         name_of_precision);

class Dispatching : public testing::TestWithParam<std::tuple<std::string, std::string, int>> {};

// Two hosts, then three of one, two and three ranks; experts that two ranks share are together.
TEST_P(Dispatching, StaysWithinTheBounds) {
  const auto& [precision, dispatcher, chunks] = GetParam();
  for (const auto& [layout, nodes] : {std::pair(TestLayout{4, 1, 2, 2}, std::vector<int>{0, 0, 1, 1}),
                                      std::pair(TestLayout{6, 1, 6, 1}, std::vector<int>{0, 1, 1, 2, 2, 2})}) {
    SmallVerification what;
    what.config.train.precision = precision;
    what.config.model.moe.experts_per_token = 3;
    what.config.parallel = parallel_of(layout);
    what.config.parallel.dispatcher = dispatcher;
    what.config.parallel.dispatch_chunks = chunks;
    what.nodes = nodes;
    const VerifyResult result = value_or_throw(what.run(layout.ranks));
    EXPECT_TRUE(result.pass()) << name_of(layout) << "\n" << failures_of(result);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Dispatching,
                         testing::Combine(testing::Values("fp64", "fp32", "bf16"),
                                          testing::Values("all_to_all", "deduplicated", "hierarchical", "auto"),
                                          testing::Values(0, 1, 3)),
                         [](const auto& test) {
                           return std::get<0>(test.param) + "_" + std::get<1>(test.param) + "_" +
                                  std::to_string(std::get<2>(test.param));
                         });

// What the plain decoder writes down beside what the grid uses.
TEST(Reference, KnowsTiedEmbeddingsActivationsRecomputationAndOtherWeights) {
  SmallVerification what;
  what.config.model.tie_embeddings = true;
  what.config.model.feed_forward.activation = "gelu";
  what.config.model.moe.activation = "relu";
  what.config.model.moe.router.renormalise = false;
  what.config.train.recompute = "layer";
  what.config.parallel = {.tensor = 3, .expert = 2};
  const VerifyResult result = value_or_throw(what.run(6));
  EXPECT_TRUE(result.pass()) << failures_of(result);
}

struct Variant {
  const char* name;
  void (*set)(MoeConfig& moe);
};

class Variants : public testing::TestWithParam<Variant> {};

TEST_P(Variants, EqualTheReferenceInFp64) {
  for (const TestLayout& layout : {TestLayout{4, 1, 2, 2}, TestLayout{6, 3, 2, 1}}) {
    SmallVerification what;
    GetParam().set(what.config.model.moe);
    what.config.model.layers = 3;
    what.config.parallel = parallel_of(layout);
    const VerifyResult result = value_or_throw(what.run(layout.ranks));
    EXPECT_TRUE(result.pass()) << name_of(layout) << "\n" << failures_of(result);
  }
}

const Variant kVariants[] = {
    {"shared_up", [](MoeConfig& moe) { moe.share = "up"; }},
    {"shared_down", [](MoeConfig& moe) { moe.share = "down"; }},
    {"shared_layers", [](MoeConfig& moe) { moe.share_layers = 2; }},
    {"shared_gate", [](MoeConfig& moe) { moe.shared_gate = true; }},
    {"top_k_first", [](MoeConfig& moe) { moe.router.top_k_first = true; }},
    {"scale", [](MoeConfig& moe) { moe.router.scale = 2.5; }},
    {"mlp_gate", [](MoeConfig& moe) { moe.router.gate.kind = "mlp"; }},
    {"jitter", [](MoeConfig& moe) { moe.router.balance.jitter = 0.1; }},
    {"bias", [](MoeConfig& moe) { moe.router.balance.bias_rate = 0.01; }},
    {"importance", [](MoeConfig& moe) { moe.router.balance.importance_loss = 0.1; }},
    {"entropy", [](MoeConfig& moe) { moe.router.balance.entropy_loss = 0.1; }},
    {"balance_sequences", [](MoeConfig& moe) { moe.router.balance.over = "sequence"; }},
    {"balance_running", [](MoeConfig& moe) { moe.router.balance.over = "running"; }},
    {"forced_balance", [](MoeConfig& moe) { moe.router.balance.force = true; }},
    {"drop_by_score", [](MoeConfig& moe) { moe.router.capacity = {.factor = 1, .drop = "score"}; }},
    {"drop_by_position", [](MoeConfig& moe) { moe.router.capacity = {.factor = 1, .drop = "position"}; }},
    {"drop_at_random", [](MoeConfig& moe) { moe.router.capacity = {.factor = 1, .drop = "random"}; }},
    {"pad", [](MoeConfig& moe) { moe.router.capacity = {.factor = 1, .drop = "score", .pad = true}; }},
};

INSTANTIATE_TEST_SUITE_P(Mixtures, Variants, testing::ValuesIn(kVariants),
                         [](const auto& test) { return test.param.name; });

// What kinds of routers have beside what the grid uses.
class Kinds : public testing::TestWithParam<Variant> {};

TEST_P(Kinds, EqualTheReferenceInFp64) {
  SmallVerification what;
  GetParam().set(what.config.model.moe);
  what.config.parallel = {.expert = 2, .expert_tensor = 2};
  const VerifyResult result = value_or_throw(what.run(4));
  EXPECT_TRUE(result.pass()) << failures_of(result);
}

void set_dense(MoeConfig& moe, const char* combination) {
  moe.experts_per_token = moe.experts;
  moe.router.kind = "dense";
  moe.router.combination = combination;
  moe.router.aux_loss = 0;
}

const Variant kKinds[] = {
    {"sigmoid_with_groups_and_a_bias",
     [](MoeConfig& moe) {
       moe.experts = 6;
       moe.router.kind = "sigmoid";
       moe.router.groups = 3;
       moe.router.groups_per_token = 2;
       moe.router.balance.bias_rate = 0.05;
     }},
    {"sigmoid_as_it_is",
     [](MoeConfig& moe) {
       moe.router.kind = "sigmoid";
       moe.router.renormalise = false;
       moe.router.balance = {.over = "sequence", .entropy_loss = 0.1};
     }},
    {"noisy_top_k_of_an_mlp",
     [](MoeConfig& moe) {
       moe.router.kind = "noisy_top_k";
       moe.router.gate.kind = "mlp";
       moe.router.balance.importance_loss = 0.1;
       moe.router.capacity = {.factor = 1, .drop = "score"};
     }},
    {"top_p_of_many",
     [](MoeConfig& moe) {
       moe.experts_per_token = 4;
       moe.router.kind = "top_p";
       moe.router.probability = 0.7;
       moe.router.renormalise = false;
     }},
    {"hash_by_a_drawn_table",
     [](MoeConfig& moe) {
       moe.router.kind = "hash";
       moe.router.table = "random";
       moe.router.aux_loss = moe.router.z_loss = 0;
     }},
    {"dense_linear",
     [](MoeConfig& moe) {
       set_dense(moe, "linear");
       moe.router.z_loss = 0;
     }},
    {"dense_neural",
     [](MoeConfig& moe) {
       set_dense(moe, "neural");
       moe.router.gate.kind = "mlp";
     }},
};

INSTANTIATE_TEST_SUITE_P(Routers, Kinds, testing::ValuesIn(kKinds), [](const auto& test) { return test.param.name; });

class Ties : public testing::TestWithParam<const char*> {};

// Of two token ids, what a document begins with is the same everywhere, whatever the position: many tokens tie for an
// expert's last places, and the rounding of each side decides for itself. The reference takes the layout's choices.
TEST_P(Ties, FlipChoicesThatTheReferenceReplays) {
  SmallVerification what;
  what.use_router("expert_choice");
  what.vocabulary = 2;
  what.config.train.global_batch = 12;
  what.config.train.precision = GetParam();
  what.config.parallel.expert = 2;
  const VerifyResult result = value_or_throw(what.run(2));
  EXPECT_TRUE(result.pass()) << failures_of(result);
  EXPECT_EQ(result.steps, 2);
  EXPECT_GT(result.flips.flipped, 0);
}

INSTANTIATE_TEST_SUITE_P(Precisions, Ties, testing::Values("fp32", "bf16"),
                         [](const auto& test) { return test.param; });

// bf16 is coarse enough for choices of a token among experts, too.
TEST(Reference, ReplaysChoicesThatBf16Flips) {
  SmallVerification what;
  what.config.train.precision = "bf16";
  what.config.train.global_batch = 48;
  what.config.model.moe.experts = 15;
  what.config.parallel.expert = 2;
  const VerifyResult result = value_or_throw(what.run(2));
  EXPECT_TRUE(result.pass()) << failures_of(result);
  EXPECT_GT(result.flips.flipped, 0);
}

// Then a router's gradient is zero, but for rounding.
TEST(Reference, KnowsGradientsThatCancel) {
  SmallVerification what;
  what.config.model.moe.experts_per_token = 1;
  what.config.model.moe.router.aux_loss = 0;
  what.config.model.moe.router.z_loss = 0;
  what.config.parallel.expert = 2;
  const VerifyResult result = value_or_throw(what.run(2));
  EXPECT_TRUE(result.pass()) << failures_of(result);
}

TEST(Reference, KnowsExpertsThatShareMatricesAndLayers) {
  for (const char* share : {"up", "down"}) {
    SmallVerification what;
    what.config.model.layers = 3;
    what.config.model.moe.share = share;
    what.config.model.moe.share_layers = 2;
    what.config.model.moe.shared_gate = true;
    what.config.parallel.expert = 2;
    const VerifyResult result = value_or_throw(what.run(2));
    EXPECT_TRUE(result.pass()) << failures_of(result);
  }
}

TEST(Reference, KnowsDenseModels) {
  SmallVerification what;
  what.config.model.moe.experts = 0;
  what.config.parallel.tensor = 3;
  const VerifyResult result = value_or_throw(what.run(3));
  EXPECT_TRUE(result.pass()) << failures_of(result);
}

// What verification does not see it must not pass: everything has a row.
TEST(Reference, ComparesEverything) {
  SmallVerification what;
  what.config.parallel.expert = 2;
  const VerifyResult result = value_or_throw(what.run(2));
  std::map<Quantity, int> rows;
  for (const Row& row : result.rows) ++rows[row.quantity];
  // 2 steps; embedding, norm, head; two norms, q, k, v, o a layer; gate, up, down of the dense layer; router, 5 experts
  // and the shared one.
  const int tensors = 3 + 2 * 6 + 3 + 1 + 6 * 3;
  EXPECT_EQ(rows[Quantity::kInitialMasters], tensors);
  EXPECT_EQ(rows[Quantity::kInitialValues], tensors);
  EXPECT_EQ(rows[Quantity::kGradients], 2 * tensors);
  EXPECT_EQ(rows[Quantity::kMoments], 2 * 2 * tensors);
  EXPECT_EQ(rows[Quantity::kUpdates], 2 * tensors);
  EXPECT_EQ(rows[Quantity::kCopies], 2 * tensors);
  EXPECT_EQ(rows[Quantity::kInputGradients], 2 * 2);
  EXPECT_EQ(rows[Quantity::kAuxiliaryLosses], 2 * 3 * 2);  // two losses and what is differentiated of them, two parts
  EXPECT_EQ(rows[Quantity::kWeights], 2 * 2);
  EXPECT_EQ(rows[Quantity::kTokenCounts], 2 * 2 * 2);  // counts and dropped ones, two parts
  EXPECT_EQ(rows[Quantity::kLogits], 2);
  EXPECT_EQ(rows[Quantity::kLoss], 2);
  EXPECT_EQ(rows[Quantity::kGradientNorm], 2);
  EXPECT_EQ(rows[Quantity::kChoices], 2 * 2);  // by the layout's inputs and by the reference's
}

}  // namespace
}  // namespace switchyard
