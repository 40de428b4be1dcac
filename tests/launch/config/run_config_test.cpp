#include "launch/config/run_config.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/config/binder.h"
#include "launch/config/document.h"

namespace switchyard {
namespace {

absl::StatusOr<RunConfig> parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  RunConfig config;
  SY_RETURN_IF_ERROR(bind_text(schema_of(config), text, "x.yaml", overrides));
  return config;
}

constexpr char kData[] = "data: {tokenizer: t.model, train: t, validation: v, sequence: 512}\n";

TEST(RunConfig, DefaultsObeyTheirOwnRulesAndReadBack) {
  RunConfig defaults;
  defaults.data.train = "random";
  const std::string text = dump_yaml(defaults);
  const auto read = parse(text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(dump_yaml(*read), text);
}

TEST(RunConfig, AcceptsTheDocumentedKeys) {
  const auto config = parse(R"(
run:        {dir: runs/quickstart, seed: 1234}
model:
  family: decoder
  width: 512
  layers: 4
  tie_embeddings: false
  attention:    {kind: gqa, heads: 8, kv_heads: 4, head_width: 64, rope_theta: 10000}
  feed_forward: {width: 1408, activation: swiglu}
  moe:
    every: 1
    first_dense: 0
    experts: 16
    experts_per_token: 4
    expert_width: 512
    activation: swiglu
    shared_experts: 0
    router: {kind: softmax, renormalise: true, aux_loss: 0.01, z_loss: 0.001}
data:       {tokenizer: path, train: prefix, validation: prefix, sequence: 512}
train:      {steps: 1000, global_batch: 64, accumulation: 4, precision: bf16, validate_every: 100}
optimizer:  {kind: adamw, lr: 3e-4, betas: [0.9, 0.95], weight_decay: 0.1, clip: 1.0, schedule: {kind: cosine, warmup: 100, min_lr: 3e-5}}
parallel:   {data: auto, tensor: 1, expert: 2, expert_tensor: 1}
checkpoint: {every: 200, keep: 3, resume: auto}
)");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->parallel.data, 0);
  EXPECT_EQ(config->model.feed_forward.width, 1408);
  EXPECT_EQ(config->model.moe.experts_per_token, 4);
  EXPECT_EQ(config->model.moe.router.z_loss, 0.001);
  EXPECT_EQ(config->optimizer.schedule.min_lr, 3e-5);
  EXPECT_EQ(config->train.compute_precision(), Precision::kBf16);
}

TEST(RunConfig, ShippedConfigsAreReadAndReadBack) {
  int count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(SWITCHYARD_SOURCE "/configs")) {
    if (entry.is_directory()) continue;
    SCOPED_TRACE(entry.path());
    const auto config = read_config<RunConfig>(entry.path().string(), {});
    ASSERT_TRUE(config.ok()) << config.status();
    const std::string text = dump_yaml(*config);
    const auto read = parse(text);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(dump_yaml(*read), text);
    ++count;
  }
  EXPECT_GE(count, 2);
}

TEST(RunConfig, SectionsThatDoNotGoTogetherAreRefused) {
  struct Refused {
    std::vector<std::string> keys;
    std::string reason;
  };
  const std::vector<Refused> all = {
      {{"train.global_batch=1", "data.sequence=4", "model.moe.experts=64", "model.moe.experts_per_token=1",
        "model.moe.router.capacity.factor=2"},
       "capacity rounds to zero"},
      {{"train.global_batch=1", "data.sequence=63", "model.moe.experts=64", "model.moe.experts_per_token=1",
        "model.moe.router.kind=expert_choice", "model.moe.router.aux_loss=0"},
       "capacity rounds to zero"},
      {{"model.moe.share_layers=2", "train.recompute=layer"}, "train.recompute=layer does not go with"},
      {{"model.moe.router.capacity.factor=1", "model.moe.router.capacity.pad=true", "parallel.dispatch_chunks=2"},
       "parallel.dispatch_chunks does not go with"},
      {{"model.layers=6", "model.moe.first_dense=1", "model.moe.every=2", "model.moe.share_layers=4"},
       "moe.share_layers=4 is more than the 3 mixture layers"}};
  for (const auto& [keys, reason] : all) {
    const auto config = parse(kData, keys);
    ASSERT_FALSE(config.ok()) << reason;
    EXPECT_EQ(error_category(config.status()), ErrorCategory::kBadConfig);
    EXPECT_THAT(std::string(config.status().message()), testing::HasSubstr(reason));
  }
  for (const std::vector<std::string>& keys :
       {std::vector<std::string>{"model.moe.share_layers=2"},
        {"model.layers=6", "model.moe.first_dense=1", "model.moe.every=2", "model.moe.share_layers=3"},
        {"model.moe.router.capacity.factor=1", "model.moe.router.capacity.pad=true", "parallel.dispatch_chunks=1"},
        {"train.global_batch=1", "data.sequence=64", "model.moe.experts=64", "model.moe.experts_per_token=1",
         "model.moe.router.kind=expert_choice", "model.moe.router.aux_loss=0"}}) {
    const auto config = parse(kData, keys);
    EXPECT_TRUE(config.ok()) << config.status();
  }
}

TEST(RunConfig, PartsOfAStepMustBeEqual) {
  const auto config = parse(kData, {"train.global_batch=10", "train.accumulation=4"});
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.status().message(),
            "x.yaml: train: global_batch is 10, which accumulation 4 does not divide into equal parts");
}

TEST(RunConfig, ResumingAllowsWhatDoesNotMakeTheRun) {
  const auto saved = parse(kData);
  ASSERT_TRUE(saved.ok()) << saved.status();
  for (const char* change :
       {"train.steps=7", "optimizer.lr=1e-5", "optimizer.schedule.warmup=1", "parallel.tensor=2", "parallel.expert=2",
        "checkpoint.every=1", "checkpoint.resume=x", "run.dir=y", "run.threads=3", "communication.timeout=1",
        "train.recompute=layer", "train.validate_every=never", "data.validation_sequences=3"}) {
    const auto current = parse(kData, {change});
    ASSERT_TRUE(current.ok()) << current.status();
    EXPECT_TRUE(compare_for_resume(*saved, *current).ok()) << change;
  }
  for (const std::string key : {"data.train", "data.tokenizer", "data.sequence", "train.global_batch",
                                "train.accumulation", "train.precision", "run.seed"}) {
    const auto current = parse(kData, {key + (key == "train.precision" ? "=fp64" : "=8")});
    ASSERT_TRUE(current.ok()) << current.status();
    const absl::Status status = compare_for_resume(*saved, *current);
    EXPECT_EQ(error_category(status), ErrorCategory::kBadConfig) << key;
    EXPECT_THAT(std::string(status.message()), testing::StartsWith(key + " was "));
  }
}

}  // namespace
}  // namespace switchyard
