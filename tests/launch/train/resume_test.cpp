// Runs that stop and go on, ranks as threads: nothing is lost, whatever the layout.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "parallel/checkpoint/checkpoint.h"
#include "runtime/base/status.h"
#include "tests/launch/train/resume_testing.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

class ResumeBits : public ResumeTest, public testing::WithParamInterface<std::tuple<std::string, int>> {};

TEST_P(ResumeBits, HalvesAreTheWholeBitForBit) {
  const auto& [precision, ranks] = GetParam();
  const std::string experts = "parallel.expert=" + std::to_string(ranks);
  const std::string dtype = "train.precision=" + precision;
  const RunConfig whole = config("whole", {dtype, experts, "checkpoint.every=3"});
  const RunConfig halves = config("halves", {dtype, experts, "checkpoint.async=false"});
  expect_done(whole, ranks);
  expect_stopped(halves, ranks, 3);
  const auto after_half = tensors(halves, 3);
  EXPECT_EQ(names_that_differ(after_half, tensors(whole, 3)), "");
  // checkpoint.every=0 writes none at the end.
  expect_done(config("halves", {dtype, experts, "checkpoint.every=100"}), ranks);

  const auto expected = tensors(whole, 6);
  EXPECT_GT(expected.size(), 3u * 20);  // parameters and both moments
  EXPECT_EQ(names_that_differ(expected, tensors(halves, 6)), "");
  EXPECT_NE(names_that_differ(expected, after_half), "");
  EXPECT_EQ(records(whole).size(), 6u);
  EXPECT_EQ(records(halves), records(whole));
}

INSTANTIATE_TEST_SUITE_P(Precisions, ResumeBits,
                         testing::Combine(testing::Values("bf16", "fp32", "fp64"), testing::Values(1, 2)),
                         [](const auto& of) {
                           return std::get<0>(of.param) + "_" + std::to_string(std::get<1>(of.param)) + "_ranks";
                         });

// What routers keep beside parameters goes with the checkpoint, to any number of ranks.
TEST_F(ResumeTest, RoutersBuffersGoOnOnOtherLayouts) {
  for (const std::vector<std::string>& router :
       {std::vector<std::string>{"model.moe.router.kind=sigmoid", "model.moe.router.balance.bias_rate=0.01"},
        std::vector<std::string>{"model.moe.router.kind=bayesian"}}) {
    SCOPED_TRACE(router[0]);
    const auto with = [&](const std::string& folder, const std::string& more) {
      std::vector<std::string> all = router;
      all.push_back(more);
      return config(router[0] + folder, all);
    };
    const RunConfig whole = with("whole", "checkpoint.every=3");
    expect_done(whole, 2);
    expect_stopped(with("halves", "parallel.expert=2"), 2, 3);
    const RunConfig rest = with("halves", "checkpoint.every=100");
    expect_done(rest, 3);

    const auto middle = tensors(whole, 3), expected = tensors(whole, 6), found = tensors(rest, 6);
    int buffers = 0;
    for (const auto& [name, bytes] : expected) {
      if (!name.ends_with(".bias") && !name.ends_with(".posterior")) continue;
      ++buffers;
      EXPECT_NE(middle.at(name), bytes) << name << " does not move: the test is blind";
      ASSERT_EQ(found.at(name).size(), bytes.size());
      EXPECT_TRUE(found.at(name) == bytes) << name;
    }
    EXPECT_EQ(buffers, 1);
    EXPECT_NEAR(records(rest).back()["loss"], records(whole).back()["loss"], 1e-9);
  }
}

TEST_F(ResumeTest, ThePosteriorOfAnotherModelIsRefused) {
  const RunConfig saved = config("run", {"model.moe.router.kind=bayesian"});
  expect_stopped(saved, 1, 1);
  const absl::Status status =
      run(config("run", {"model.moe.router.kind=bayesian", "model.moe.router.bayesian.clusters=3"}), 1);
  EXPECT_EQ(error_category(status), ErrorCategory::kBadConfig) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("clusters was 8 and is now 3"));
}

TEST_F(ResumeTest, SupervisedRoutingNeedsTags) {
  const absl::Status status = run(config("run", {"model.moe.router.kind=supervised"}), 2);
  EXPECT_EQ(error_category(status), ErrorCategory::kBadConfig) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("carries none; prepare it with --tag-by"));
}

struct NextLayout {
  std::string name;
  int ranks;
  std::vector<std::string> overrides;
};

class ResumeLayout : public ResumeTest, public testing::WithParamInterface<NextLayout> {};

TEST_P(ResumeLayout, TheSameDataAndLossesFollow) {
  const NextLayout& next = GetParam();
  const RunConfig undisturbed = config("undisturbed", {"parallel.expert=2"});
  const RunConfig before = config("moved", {"parallel.expert=2"});
  expect_done(undisturbed, 2);
  expect_stopped(before, 2, 2);
  const RunConfig after = config("moved", next.overrides);
  expect_done(after, next.ranks);

  const auto expected = records(undisturbed), found = records(after);
  ASSERT_EQ(expected.size(), 6u);
  ASSERT_EQ(found.size(), 6u);
  for (size_t i = 0; i < found.size(); ++i) {
    SCOPED_TRACE(i + 1);
    EXPECT_EQ(found[i]["step"], expected[i]["step"]);
    EXPECT_EQ(found[i]["tokens"], expected[i]["tokens"]);
    EXPECT_EQ(found[i]["lr"], expected[i]["lr"]);
    EXPECT_NEAR(found[i]["loss"], expected[i]["loss"], 1e-9);
    EXPECT_NEAR(found[i]["grad_norm"], expected[i]["grad_norm"], 1e-9);
    ASSERT_EQ(found[i].contains("validation_loss"), i % 2 == 1);
    if (i % 2 == 1) {
      EXPECT_NEAR(found[i]["validation_loss"], expected[i]["validation_loss"], 1e-9);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, ResumeLayout,
    testing::Values(NextLayout{"one_rank", 1, {}}, NextLayout{"three_experts", 3, {"parallel.expert=3"}},
                    NextLayout{"tensor", 2, {"parallel.tensor=2"}},
                    NextLayout{"expert_and_expert_tensor", 4, {"parallel.expert=2", "parallel.expert_tensor=2"}},
                    NextLayout{"tensor_above_kv_heads", 4, {"parallel.tensor=4", "parallel.expert=4"}}),
    [](const auto& of) { return of.param.name; });

TEST_F(ResumeTest, OverridesThatMakeNoOtherRun) {
  expect_stopped(config("run"), 1, 3);
  const RunConfig longer = config("run", {"train.steps=8", "optimizer.lr=0.005", "optimizer.schedule.kind=constant"});
  expect_done(longer, 1);
  const auto found = records(longer);
  ASSERT_EQ(found.size(), 8u);
  EXPECT_EQ(found[2]["lr"], records(config("run"))[2]["lr"]);
  for (size_t i = 3; i < 8; ++i) EXPECT_EQ(found[i]["lr"], 0.005);
}

TEST_F(ResumeTest, AnotherModelIsRefusedByName) {
  expect_stopped(config("run"), 2, 1);
  const auto saved = tensors(config("run"), 1);
  const std::string from = "checkpoint.resume=" + checkpoint_path(config("run"), 1).string();
  // In the same run directory, and from another one's checkpoint.
  for (const RunConfig& other : {config("run", {"model.width=32"}), config("other", {"model.width=32", from})}) {
    const absl::Status status = run(other, 2);
    EXPECT_EQ(error_category(status), ErrorCategory::kBadConfig) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("model.width was 16 and is now 32"));
  }
  EXPECT_EQ(names_that_differ(saved, tensors(config("run"), 1)), "");
  EXPECT_EQ(records(config("run")).size(), 1u);
}

TEST_F(ResumeTest, FromANamedCheckpointIntoAnotherFolder) {
  const RunConfig whole = config("whole", {"checkpoint.every=2"});
  expect_done(whole, 2);
  const RunConfig branch =
      config("branch", {"checkpoint.every=2", "checkpoint.resume=" + checkpoint_path(whole, 4).string()});
  expect_done(branch, 2);
  EXPECT_EQ(names_that_differ(tensors(whole, 6), tensors(branch, 6)), "");
  const auto all = records(whole);
  EXPECT_EQ(records(branch), (std::vector<nlohmann::json>{all[4], all[5]}));
}

// Steps that are not finite update nothing, and what diverged pushes out no checkpoint from before.
TEST_F(ResumeTest, DivergenceLeavesTheLastGoodCheckpoint) {
  const std::vector<std::string> common = {"train.precision=fp32", "checkpoint.keep=1", "train.steps=20"};
  expect_stopped(config("run", common), 2, 2);
  const auto good = tensors(config("run"), 2);

  std::vector<std::string> wild = common;
  for (const char* key : {"optimizer.lr=1e40", "optimizer.schedule.kind=constant", "optimizer.schedule.warmup=0",
                          "train.max_skipped=3", "checkpoint.every=2"}) {
    wild.push_back(key);
  }
  // The first of three ranks has no sequence of a part, and so no logits.
  const absl::Status status = run(config("run", wild), 3);
  EXPECT_EQ(error_category(status), ErrorCategory::kDiverged) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("(the router's logits of layer 1 were not finite on rank 1)"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("3 steps in a row, up to step 6"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("lower optimizer.lr: the command"));
  const auto found = records(config("run"));
  ASSERT_EQ(found.size(), 6u);
  EXPECT_FALSE(found[2].contains("skipped"));
  for (size_t i = 3; i < 6; ++i) EXPECT_EQ(found[i]["skipped"], true);
  EXPECT_EQ(names_that_differ(good, tensors(config("run"), 2)), "");

  // Going on from there with a sane rate is the run that never diverged.
  std::vector<std::string> sane = common;
  sane.push_back("checkpoint.every=100");
  expect_done(config("run", sane), 2);
  expect_done(config("sane", sane), 2);
  EXPECT_EQ(records(config("run")), records(config("sane")));
}

}  // namespace
}  // namespace switchyard
