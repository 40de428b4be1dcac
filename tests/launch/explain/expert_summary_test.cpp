#include "launch/explain/expert_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;

// Five tokens on three experts: 0 and 1 twice together, expert 2 once and alone, the last token nowhere.
LayerTrace small_trace() {
  LayerTrace trace;
  trace.experts = 3;
  trace.offsets = {0, 2, 4, 5, 6, 6};
  trace.chosen = {0, 1, 1, 0, 0, 2};
  trace.kept = std::vector<bool>(6, true);
  return trace;
}

TEST(ExpertSummary, SharesAndCompany) {
  const LayerSummary summary = summarise(small_trace(), std::vector<int64_t>{7, 7, 7, 8, 9});
  EXPECT_THAT(summary.load, ElementsAre(DoubleEq(3.0 / 6), DoubleEq(2.0 / 6), DoubleEq(1.0 / 6)));
  // Mean 1/3, deviations 1/6, 0, −1/6: √(2/3)/6 · 3.
  EXPECT_DOUBLE_EQ(summary.load_cv, std::sqrt(2.0 / 3) / 2);
  EXPECT_THAT(summary.coactivation[0], ElementsAre(DoubleEq(1), DoubleEq(2.0 / 3), DoubleEq(0)));
  EXPECT_THAT(summary.coactivation[1], ElementsAre(DoubleEq(1), DoubleEq(1), DoubleEq(0)));
  EXPECT_THAT(summary.coactivation[2], ElementsAre(DoubleEq(0), DoubleEq(0), DoubleEq(1)));
}

TEST(ExpertSummary, WhatACapacityDroppedWasNotTaken) {
  LayerTrace trace = small_trace();
  trace.kept = {true, false, true, true, false, true};
  const LayerSummary summary = summarise(trace, std::vector<int64_t>{7, 7, 7, 8, 9});
  EXPECT_THAT(summary.dropped, ElementsAre(1, 1, 0));
  EXPECT_THAT(summary.load, ElementsAre(DoubleEq(2.0 / 4), DoubleEq(1.0 / 4), DoubleEq(1.0 / 4)));
  EXPECT_THAT(summary.coactivation[0], ElementsAre(DoubleEq(1), DoubleEq(1.0 / 2), DoubleEq(0)));
  EXPECT_THAT(summary.coactivation[1], ElementsAre(DoubleEq(1), DoubleEq(1), DoubleEq(0)));
  ASSERT_EQ(summary.top_tokens[0].size(), 1);
  EXPECT_EQ(summary.top_tokens[0][0].taken, 2);
  EXPECT_EQ(summary.top_tokens[0][0].seen, 3);
}

TEST(ExpertSummary, TypicalTokensGoToAnExpertBeyondItsShare) {
  LayerTrace trace;
  trace.experts = 2;
  std::vector<int64_t> ids;
  // Expert 0 takes all of token 1, half of token 2 and one of token 3; expert 1 the rest.
  const std::vector<std::pair<int64_t, int64_t>> slots = {{1, 0}, {1, 0}, {1, 0}, {2, 0}, {2, 0}, {2, 1},
                                                          {2, 1}, {3, 0}, {3, 1}, {3, 1}, {3, 1}, {4, 1}};
  for (const auto& [id, expert] : slots) {
    ids.push_back(id);
    trace.chosen.push_back(expert);
    trace.kept.push_back(true);
    trace.offsets.push_back(trace.offsets.back() + 1);
  }
  const LayerSummary summary = summarise(trace, ids);
  // Half of all tokens go to each: token 2 is as even as any, token 4 was seen once.
  ASSERT_EQ(summary.top_tokens[0].size(), 1);
  EXPECT_EQ(summary.top_tokens[0][0].id, 1);
  EXPECT_EQ(summary.top_tokens[0][0].taken, 3);
  EXPECT_EQ(summary.top_tokens[0][0].seen, 3);
  ASSERT_EQ(summary.top_tokens[1].size(), 1);
  EXPECT_EQ(summary.top_tokens[1][0].id, 3);
  EXPECT_EQ(summary.top_tokens[1][0].taken, 3);
  EXPECT_EQ(summary.top_tokens[1][0].seen, 4);
}

TEST(ExpertSummary, NoSlotsAtAll) {
  LayerTrace trace;
  trace.experts = 2;
  trace.offsets = {0, 0};
  const LayerSummary summary = summarise(trace, std::vector<int64_t>{5});
  EXPECT_THAT(summary.load, ElementsAre(0, 0));
  EXPECT_EQ(summary.load_cv, 0);
}

}  // namespace
}  // namespace switchyard
