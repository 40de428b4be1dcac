// Held-out data in a run and in `switchyard evaluate`: what is refused before the first step, and what is said.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/data/document_tags.h"
#include "launch/train/evaluate.h"
#include "runtime/base/status.h"
#include "tests/launch/data/data_testing.h"
#include "tests/launch/train/resume_testing.h"
#include "tests/support/little_address_space.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ValidationTest : public ResumeTest {
 protected:
  static absl::Status evaluate_on(const RunConfig& config, int ranks) {
    std::vector<absl::Status> results(ranks);
    run_ranks(ranks, [&](Communicator& world) { results[world.rank()] = evaluate(config, world); });
    for (const absl::Status& result : results) EXPECT_EQ(result.code(), results[0].code()) << result;
    return results[0];
  }

  // A data set whose one document has this tag.
  std::string tagged(const std::string& name, int32_t tag) const {
    const std::string prefix = write_documents(folder_ / name, {60});
    throw_if_error(write_tags(prefix, std::vector<int32_t>{tag}));
    return prefix;
  }
};

// Of three sequences in parts of two: the last part has twelve tokens for twenty-four experts.
TEST_F(ValidationTest, AShortLastPartEndsNoRun) {
  const std::vector<std::string> common = {"model.moe.experts=24", "model.moe.experts_per_token=1", "train.steps=2",
                                           "data.validation_sequences=3", "checkpoint.every=2"};
  for (const std::vector<std::string>& router :
       {std::vector<std::string>{"model.moe.router.kind=expert_choice", "model.moe.router.aux_loss=0"},
        {"model.moe.router.capacity.factor=1", "model.moe.router.capacity.pad=true"}}) {
    SCOPED_TRACE(router[0]);
    std::vector<std::string> all = common;
    all.insert(all.end(), router.begin(), router.end());
    const RunConfig limited = config(router[0], all);
    expect_done(limited, 2);
    EXPECT_TRUE(records(limited).back().contains("validation_loss"));
    const absl::Status status = evaluate_on(limited, 2);
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST_F(ValidationTest, TagsBeyondTheLabelsAreRefusedAtTheStart) {
  const auto with_data = [&](const std::string& train, const std::string& validation) {
    RunConfig given = config("run", {"model.moe.router.kind=supervised", "model.moe.router.labels=2", "train.steps=2"});
    given.data.train = train;
    given.data.validation = validation;
    return given;
  };
  const std::string two = tagged("two", 1), three = tagged("three", 2);
  for (const RunConfig& given : {with_data(two, three), with_data(three, two)}) {
    for (const absl::Status& status : {run(given, 2), evaluate_on(given, 2)}) {
      EXPECT_EQ(error_category(status), ErrorCategory::kBadConfig);
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr(three + " carries 3 tags, more than model.moe.router.labels=2; set it to 3"));
    }
  }
  EXPECT_TRUE(records(config("run")).empty());
  expect_done(with_data(two, two), 2);
  EXPECT_TRUE(records(config("run")).back()["validation_moe"]["layers"][0].contains("routing_accuracy"));
}

TEST_F(ValidationTest, HeldOutDataNeedsNoTags) {
  RunConfig given = config("run", {"model.moe.router.kind=supervised", "model.moe.router.labels=2", "train.steps=2"});
  given.data.train = tagged("two", 1);
  expect_done(given, 2);
}

TEST_F(ValidationTest, EvaluateSaysWhyRowsGoByMessages) {
  const RunConfig given = config("run", {"parallel.expert=2", "train.steps=2", "checkpoint.every=2"});
  expect_done(given, 2);
  const auto printed = [&] {
    testing::internal::CaptureStdout();
    const absl::Status status = evaluate_on(given, 2);
    EXPECT_TRUE(status.ok()) << status;
    return testing::internal::GetCapturedStdout();
  };
  EXPECT_THAT(printed(), AllOf(HasSubstr("validation_loss="), Not(HasSubstr("by messages"))));
  const LittleAddressSpace little;
  EXPECT_THAT(printed(), HasSubstr("dispatch    by messages within hosts too: no addresses for shared memory"));
}

// The first step is fine and leaves weights whose products overflow.
TEST_F(ValidationTest, LogitsThatAreNotFiniteNameLayerAndRank) {
  const RunConfig wild =
      config("run", {"train.precision=fp32", "train.steps=1", "train.validate_every=1", "checkpoint.every=1",
                     "optimizer.lr=1e15", "optimizer.schedule.kind=constant", "optimizer.schedule.warmup=0"});
  const std::string where = "the router's logits of layer 1 were not finite on rank 0\n";
  testing::internal::CaptureStdout();
  expect_done(wild, 2);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("\nwarning: validation after step 1: " + where));
  testing::internal::CaptureStdout();
  const absl::Status status = evaluate_on(wild, 2);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("warning: " + where));
}

}  // namespace
}  // namespace switchyard
