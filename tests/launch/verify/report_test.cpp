#include "launch/verify/report.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::Not;

VerifyResult good() {
  VerifyResult result;
  result.reference = "one rank";
  result.steps = 2;
  result.own_flips = {.tokens = 40, .flipped = 1, .unexplained = 0, .first = ""};
  result.flips = {.tokens = 40, .flipped = 2, .unexplained = 0, .first = ""};
  result.rows = {{.quantity = Quantity::kLogits, .step = 0, .name = "logits", .deviation = 1e-15, .bound = 1e-13},
                 {.quantity = Quantity::kGradients, .step = 0, .name = "norm", .deviation = 1e-14, .bound = 1e-13},
                 {.quantity = Quantity::kGradients, .step = 0, .name = "head", .deviation = 2e-14, .bound = 1e-13}};
  return result;
}

TEST(Report, NamesTheWorstTensorOfEachQuantity) {
  const std::string text = summary(good());
  EXPECT_THAT(text, HasSubstr("gradients                   2      2e-14      1e-13  head"));
  EXPECT_THAT(text, HasSubstr("by the inputs of the layout's routers: 1 of 40 choices flipped, 0 by more than"));
  EXPECT_THAT(text, HasSubstr("by the inputs of the reference's: 2 of 40 choices flipped, 0 by more than rounding"));
  EXPECT_THAT(text, Not(HasSubstr("FAIL")));
  EXPECT_TRUE(verdict(good()).ok());
  EXPECT_EQ(hint(good()), "");
}

TEST(Report, SaysWhatFailsAndWhereToLook) {
  VerifyResult result = good();
  result.rows.push_back({.quantity = Quantity::kGradients,
                         .step = 1,
                         .name = "layers.1.moe.experts.3.up",
                         .deviation = 0.5,
                         .bound = 1e-13});
  result.rows.push_back(
      {.quantity = Quantity::kCopies, .step = 1, .name = "head", .defect = "the layout holds 3 elements of 4"});
  const std::string text = summary(result);
  EXPECT_THAT(text, HasSubstr("step 2  gradients of layers.1.moe.experts.3.up: off by 0.5, bound 1e-13"));
  EXPECT_THAT(text, HasSubstr("step 2  copies of parameters of head: the layout holds 3 elements of 4"));
  EXPECT_THAT(text, HasSubstr("first to differ: gradients of moe.experts.up."));
  EXPECT_THAT(text, HasSubstr("their reduction"));
  EXPECT_THAT(text, HasSubstr("step 1 agreed"));
  EXPECT_EQ(error_category(verdict(result)), ErrorCategory::kInternal);
  EXPECT_THAT(std::string(verdict(result).message()), HasSubstr("2 of 5 comparisons fail"));
}

TEST(Report, SaysWhatAStandInDoesNotCompare) {
  VerifyResult result = good();
  result.flips = {};
  EXPECT_THAT(summary(result), HasSubstr("by the inputs of the reference's: not compared"));
  EXPECT_EQ(nlohmann::json::parse(to_json(result, {}))["choices_by_reference_inputs"], "not compared");
}

TEST(Report, SaysWhetherClippingWasTried) {
  VerifyResult result = good();
  result.clip_factors = {1, 0.5};
  EXPECT_THAT(summary(result), HasSubstr("gradients were clipped by 1, 0.5"));
  result.clip_factors = {1, 1};
  EXPECT_THAT(summary(result), HasSubstr("clipping was not tried"));
}

TEST(Report, JsonHasAllRows) {
  VerifyResult result = good();
  result.rows[0].deviation = NAN;
  const VerifiedRun run{.shape = {.data = 4, .expert = 4},
                        .precision = "bf16",
                        .tokens = "random",
                        .shrunk = "model.width 512 → 32",
                        .planted = "stale_norm"};
  const auto json = nlohmann::json::parse(to_json(result, run));
  EXPECT_EQ(json["pass"], false);
  EXPECT_EQ(json["layout"]["expert"], 4);
  EXPECT_EQ(json["precision"], "bf16");
  EXPECT_EQ(json["tokens"], "random");
  EXPECT_EQ(json["shrunk"], "model.width 512 → 32");
  EXPECT_EQ(json["planted"], "stale_norm");
  ASSERT_EQ(json["rows"].size(), 3u);
  EXPECT_TRUE(json["rows"][0]["deviation"].is_null());
  EXPECT_EQ(json["rows"][0]["pass"], false);
  EXPECT_EQ(json["rows"][2]["tensor"], "head");
  EXPECT_EQ(json["choices_by_own_inputs"]["flipped"], 1);
  EXPECT_EQ(json["choices_by_reference_inputs"]["flipped"], 2);
}

}  // namespace
}  // namespace switchyard
