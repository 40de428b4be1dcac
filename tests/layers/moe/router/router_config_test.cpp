// Combinations that make no sense are refused with the reason.

#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "layers/moe/config.h"

namespace switchyard {
namespace {

struct Refused {
  std::string reason;
  std::function<void(MoeConfig&)> change;
};

// With what the kind asks for beside.
void set_kind(MoeConfig& config, const char* kind) {
  RouterConfig& router = config.router;
  router.kind = kind;
  if (router.kind == "hash") router.z_loss = 0;
  if (router.kind == "hash" || router.kind == "dense") router.aux_loss = 0;
  if (router.kind == "dense") config.experts_per_token = config.experts;
}

// What each of the refusals below is about is accepted where it has an effect.
TEST(RouterConfig, AcceptsKeysThatHaveAnEffect) {
  for (const char* kind : {"softmax", "noisy_top_k", "hash", "dense", "bayesian"}) {
    MoeConfig config{.experts = 8, .experts_per_token = 4, .router = {}};
    set_kind(config, kind);
    EXPECT_TRUE(config.validate().ok()) << config.validate();
  }
  MoeConfig config{.experts = 8, .experts_per_token = 4, .router = {}};
  config.router.renormalise = false;
  config.router.gate = {.kind = "mlp", .width = 64};
  config.router.balance = {.over = "sequence", .bias_rate = 0.1, .jitter = 0.1};
  config.router.capacity = {.factor = 1, .drop = "position"};
  EXPECT_TRUE(config.validate().ok()) << config.validate();
  set_kind(config, "bayesian");
  config.router.balance = {};
  config.router.bayesian.explore = "ucb";
  config.router.bayesian.strength = 2;
  EXPECT_TRUE(config.validate().ok()) << config.validate();
}

TEST(RouterConfig, RefusesWhatMakesNoSenseTogether) {
  const std::vector<Refused> all = {
      {"experts_per_token=9 is more than experts=8", [](MoeConfig& c) { c.experts_per_token = 9; }},
      {"groups=3 does not divide experts=8",
       [](MoeConfig& c) { c.router.kind = "sigmoid", c.router.groups = 3, c.router.groups_per_token = 2; }},
      {"groups_per_token=3 is more than groups=2",
       [](MoeConfig& c) { c.router.kind = "sigmoid", c.router.groups = 2, c.router.groups_per_token = 3; }},
      {"more than the 2 experts of groups_per_token=1 groups",
       [](MoeConfig& c) { c.router.kind = "sigmoid", c.router.groups = 4, c.experts_per_token = 3; }},
      {"groups belongs to kind sigmoid", [](MoeConfig& c) { c.router.groups = 2, c.router.groups_per_token = 2; }},
      {"top_k_first belongs to kind softmax",
       [](MoeConfig& c) { c.router.kind = "sinkhorn", c.router.top_k_first = true; }},
      {"weights add up to 1", [](MoeConfig& c) { c.router.top_k_first = true, c.router.renormalise = false; }},
      {"top_p with experts_per_token=1", [](MoeConfig& c) { c.router.kind = "top_p", c.experts_per_token = 1; }},
      {"hash has no gate", [](MoeConfig& c) { c.router.kind = "hash", c.router.z_loss = 0; }},
      {"same load by construction; set aux_loss: 0", [](MoeConfig& c) { c.router.kind = "expert_choice"; }},
      {"set experts_per_token: 8",
       [](MoeConfig& c) { c.router.kind = "dense", c.router.aux_loss = 0, c.experts_per_token = 2; }},
      {"combination neural needs gate.kind: mlp",
       [](MoeConfig& c) {
         c.router.kind = "dense", c.router.aux_loss = 0, c.experts_per_token = 8, c.router.combination = "neural";
       }},
      {"labels=9 is more than experts=8", [](MoeConfig& c) { c.router.kind = "supervised", c.router.labels = 9; }},
      {"bias_rate moves the scores", [](MoeConfig& c) { c.router.kind = "top_p", c.router.balance.bias_rate = 0.1; }},
      {"balance.force replaces a choice", [](MoeConfig& c) { c.router.kind = "top_p", c.router.balance.force = true; }},
      {"capacity.factor makes no sense with expert_choice",
       [](MoeConfig& c) { c.router.kind = "expert_choice", c.router.aux_loss = 0, c.router.capacity.factor = 1; }},
      {"capacity.pad needs a capacity.factor", [](MoeConfig& c) { c.router.capacity.pad = true; }},
      {"the bayesian section belongs to kind bayesian", [](MoeConfig& c) { c.router.bayesian.clusters = 3; }},
      {"probability belongs to kind top_p", [](MoeConfig& c) { c.router.probability = 0.6; }},
      {"iterations belongs to kind sinkhorn", [](MoeConfig& c) { c.router.iterations = 3; }},
      {"load_loss belongs to kind noisy_top_k", [](MoeConfig& c) { c.router.load_loss = 0; }},
      {"table belongs to kind hash", [](MoeConfig& c) { c.router.table = "random"; }},
      {"combination belongs to kind dense", [](MoeConfig& c) { c.router.combination = "linear"; }},
      {"labels belongs to kind supervised", [](MoeConfig& c) { c.router.labels = 2; }},
      {"labels belongs to kind supervised", [](MoeConfig& c) { c.router.label_loss = 0.2; }},
      {"hash has no gate; leave the gate section out",
       [](MoeConfig& c) { set_kind(c, "hash"), c.router.gate.kind = "mlp"; }},
      {"dense with combination linear has no gate; leave the gate section out",
       [](MoeConfig& c) {
         set_kind(c, "dense"), c.router.z_loss = 0, c.router.combination = "linear", c.router.gate.kind = "mlp";
       }},
      {"combination weighted has a linear gate",
       [](MoeConfig& c) { set_kind(c, "dense"), c.router.gate.kind = "mlp"; }},
      {"capacity.factor makes no sense with dense",
       [](MoeConfig& c) { set_kind(c, "dense"), c.router.capacity.factor = 1; }},
      {"renormalise: false changes nothing for noisy_top_k",
       [](MoeConfig& c) { set_kind(c, "noisy_top_k"), c.router.renormalise = false; }},
      {"renormalise: false changes nothing for hash",
       [](MoeConfig& c) { set_kind(c, "hash"), c.router.renormalise = false; }},
      {"renormalise: false changes nothing for dense",
       [](MoeConfig& c) { set_kind(c, "dense"), c.router.renormalise = false; }},
      {"a linear gate has none", [](MoeConfig& c) { c.router.gate.width = 64; }},
      {"aux_loss is 0; leave it out", [](MoeConfig& c) { c.router.aux_loss = 0, c.router.balance.over = "sequence"; }},
      {"balance.force replaces the choice",
       [](MoeConfig& c) { c.router.balance.force = true, c.router.balance.jitter = 0.1; }},
      {"balance.force replaces the choice",
       [](MoeConfig& c) { c.router.balance.force = true, c.router.balance.bias_rate = 0.1; }},
      {"capacity.drop needs a capacity.factor", [](MoeConfig& c) { c.router.capacity.drop = "position"; }},
      {"bayesian.strength belongs to bayesian.explore: ucb",
       [](MoeConfig& c) { set_kind(c, "bayesian"), c.router.bayesian.strength = 2; }},
      {"shared_gate needs shared_experts", [](MoeConfig& c) { c.shared_gate = true; }}};
  for (const Refused& refused : all) {
    MoeConfig config{.experts = 8, .experts_per_token = 4, .router = {}};
    ASSERT_TRUE(config.validate().ok());
    refused.change(config);
    const absl::Status status = config.validate();
    ASSERT_FALSE(status.ok()) << refused.reason;
    EXPECT_EQ(error_category(status), ErrorCategory::kBadConfig);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(refused.reason));
  }
}

TEST(RouterConfig, WholeCapacitiesStayWholeInFloatingPoint) {
  EXPECT_EQ(*slots_per_expert(1.1, 100, 2, 10), 22);
  EXPECT_EQ(*slots_per_expert(1, 21, 2, 5), 8);
  EXPECT_EQ(error_category(slots_per_expert(0.5, 3, 1, 2).status()), ErrorCategory::kBadConfig);
}

}  // namespace
}  // namespace switchyard
