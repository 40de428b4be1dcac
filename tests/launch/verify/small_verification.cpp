#include "tests/launch/verify/small_verification.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <gtest/gtest.h>

#include "launch/config/field.h"
#include "launch/verify/report.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "tests/support/ranks.h"

namespace switchyard {

SmallVerification::SmallVerification() {
  DecoderConfig& model = config.model;
  model.width = 16;
  model.layers = 2;
  model.init_scale = 0.3;
  model.attention.heads = 6;
  model.attention.kv_heads = 3;
  model.attention.head_width = 4;
  model.feed_forward.width = 22;
  model.moe.first_dense = 1;
  model.moe.experts = 5;
  model.moe.experts_per_token = 2;
  model.moe.expert_width = 10;
  model.moe.shared_experts = 1;
  config.data.train = "random";
  config.data.sequence = 7;
  config.train.global_batch = 6;
  config.train.accumulation = 2;
  config.train.precision = "fp64";
  config.optimizer.clip = 0.5;
  config.optimizer.schedule.warmup = 0;
}

void SmallVerification::use_router(const std::string& kind) {
  MoeConfig& moe = config.model.moe;
  moe.router.kind = kind;
  if (kind == "dense") moe.experts_per_token = moe.experts;
  if (kind == "supervised") moe.router.labels = 2;
  if (kind == "hash") moe.router.z_loss = 0;
  if (kind == "hash" || kind == "dense" || kind == "expert_choice") moe.router.aux_loss = 0;
}

absl::StatusOr<VerifyResult> SmallVerification::run(int ranks) const {
  std::vector<absl::StatusOr<VerifyResult>> results(ranks, absl::UnknownError("the rank has not ended"));
  EXPECT_TRUE(config.model.moe.validate().ok()) << config.model.moe.validate();
  const auto verify = [&](Communicator& world) {
    VerifyOptions options{.config = config, .vocabulary = vocabulary, .tokens = {}, .steps = steps};
    options.inject = inject;
    options.memory_bytes = memory_bytes;
    if (tamper) options.tamper = [&](Injection& injection) { tamper(injection, world.rank()); };
    results[world.rank()] = verify_layout(options, world);
  };
  run_ranks(ranks, verify, {.timeout = absl::Minutes(2), .nodes = nodes});
  for (const auto& result : results) {
    const auto text = [](const auto& r) { return r.ok() ? to_json(*r, {}) : std::string(r.status().message()); };
    EXPECT_EQ(text(result), text(results[0]));
  }
  return results[0];
}

std::string name_of(const TestLayout& layout) {
  return absl::StrCat("ranks", layout.ranks, "_tensor", layout.tensor, "_expert", layout.expert, "_expert_tensor",
                      layout.expert_tensor);
}

ParallelConfig parallel_of(const TestLayout& layout) {
  return {.tensor = layout.tensor, .expert = layout.expert, .expert_tensor = layout.expert_tensor};
}

std::vector<TestLayout> verified_layouts() {
  return {{1, 1, 1, 1}, {2, 1, 2, 1}, {3, 3, 1, 1}, {4, 1, 2, 2}, {4, 1, 4, 1}, {6, 3, 2, 1}, {6, 6, 3, 2}};
}

std::vector<std::string> router_kinds() {
  RunConfig config;
  for (const Field& field : schema_of(config).fields) {
    if (field.path != "model.moe.router.kind") continue;
    const std::string rule = field.rule(), prefix = "one of ";
    SY_CHECK(rule.starts_with(prefix));
    return absl::StrSplit(rule.substr(prefix.size()), ", ");
  }
  check_failed(__FILE__, __LINE__, "there is no model.moe.router.kind");
}

std::string failures_of(const VerifyResult& result) {
  return result.pass() ? "" : summary(result);
}

}  // namespace switchyard
