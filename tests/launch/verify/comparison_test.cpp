#include "launch/verify/comparison.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/verify/bounds.h"
#include "launch/verify/exchange_parts.h"
#include "runtime/base/status.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

TensorPart rows_of(const at::Tensor& whole, int64_t begin, int64_t end, const std::string& name = "x") {
  return {.name = name,
          .dtype = whole.scalar_type(),
          .shape = whole.sizes().vec(),
          .box = {{begin, 0}, {end - begin, whole.size(1)}},
          .data = whole.narrow(0, begin, end - begin)};
}

MeasureOf relative_to(double bound) {
  return [bound](const std::string&, double norm) { return Measure{norm, bound}; };
}

const at::Tensor& numbers() {
  static const at::Tensor x = at::arange(12, at::kDouble).view({6, 2}) + 1;
  return x;
}

// Two ranks; the reference is cut after row 4, the layout after row `cut`.
std::vector<Row> compare_rows(const at::Tensor& layout, int64_t cut, Held held, bool last_is_there = true,
                              bool by_rows = false) {
  std::vector<Row> rows;
  run_ranks(2, [&](Communicator& world) {
    const bool first = world.rank() == 0;
    const TensorPart reference = first ? rows_of(numbers(), 0, 4) : rows_of(numbers(), 4, 6);
    const TensorPart mine = first ? rows_of(layout, 0, cut) : rows_of(layout, cut, last_is_there ? 6 : 5);
    const auto result = value_or_throw(compare(world, {Quantity::kGradients, 3, held, by_rows}, std::vector{reference},
                                               std::vector{mine}, relative_to(1e-3)));
    if (first) rows = result;
  });
  return rows;
}

TEST(Compare, MeasuresByTheWholeTensorsNorm) {
  EXPECT_TRUE(compare_rows(numbers(), 3, Held::kOnce).at(0).pass());
  at::Tensor off = numbers().clone();
  off[0][0] += 0.3;
  off[5][1] += 0.4;
  const Row row = compare_rows(off, 1, Held::kOnce).at(0);
  EXPECT_FALSE(row.pass());
  EXPECT_NEAR(row.deviation, 0.5 / numbers().norm().item<double>(), 1e-12);
  EXPECT_EQ(row.step, 3);
}

TEST(Compare, SeesHolesOverlapsAndNumbersThatAreNone) {
  EXPECT_THAT(compare_rows(numbers(), 3, Held::kOnce, false).at(0).defect, HasSubstr("10 elements of 12"));
  EXPECT_THAT(compare_rows(numbers(), 3, Held::kEverywhere).at(0).defect, HasSubstr("6 elements of 12"));
  at::Tensor none = numbers().clone();
  none[2][0] = NAN;
  EXPECT_FALSE(compare_rows(none, 3, Held::kOnce).at(0).pass());
}

TEST(Compare, SeesTensorsThatOnlyOneSideHas) {
  run_ranks(2, [&](Communicator& world) {
    std::vector<TensorPart> reference, layout;
    if (world.rank() == 0) reference.push_back(whole_part("theirs", numbers()));
    if (world.rank() == 1) layout.push_back(whole_part("ours", numbers()));
    const auto rows = value_or_throw(compare(world, {Quantity::kGradients}, reference, layout, relative_to(1e-3)));
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_THAT(rows[0].defect, HasSubstr("0 elements of 12"));
    EXPECT_EQ(rows[1].name, "ours");
    EXPECT_THAT(rows[1].defect, HasSubstr("no such tensor"));
  });
}

TEST(Exchange, FillsAnyBoxFromAnyOther) {
  run_ranks(3, [&](Communicator& world) {
    const int rank = world.rank();
    const std::vector<TensorPart> own = {rows_of(numbers(), 2 * rank, 2 * rank + 2)};
    TensorPart columns{"x", at::kFloat, {6, 2}, {{1, 1}, {4, 1}}, at::zeros({4, 1}, at::kFloat)};
    throw_if_error(exchange_parts(world, own, [&](const TensorPart& part) { copy_overlap(part, columns); }));
    EXPECT_TRUE(at::equal(columns.data.to(at::kDouble), numbers().narrow(0, 1, 4).narrow(1, 1, 1)));
  });
}

// A bug of one rank among many: its row is off by 1 %, the tensor by 0.06 %.
TEST(Compare, JudgesRowsByThemselves) {
  at::Tensor off = numbers().clone();
  off[0][0] += 0.02;
  EXPECT_TRUE(compare_rows(off, 3, Held::kOnce).at(0).pass());
  const Row row = compare_rows(off, 3, Held::kOnce, true, true).at(0);
  EXPECT_FALSE(row.pass());
  // The row is smaller than most and keeps the errors of an ordinary one.
  EXPECT_NEAR(row.deviation, 0.02 / (numbers().norm().item<double>() / std::sqrt(6.0)), 1e-12);
  off = numbers().clone();
  off[5][1] += 0.02;
  EXPECT_NEAR(compare_rows(off, 3, Held::kOnce, true, true).at(0).deviation, 0.02 / numbers()[5].norm().item<double>(),
              1e-12);
}

TEST(Coverage, IsByBoxesNotByCounts) {
  const std::vector<int64_t> shape = {8, 2};
  const Box upper{{0, 0}, {4, 2}}, lower{{4, 0}, {4, 2}}, whole{{0, 0}, {8, 2}};
  const auto defect = [&](Held held, std::vector<std::vector<Box>> by_rank) {
    return coverage_defect(held, shape, by_rank);
  };
  EXPECT_EQ(defect(Held::kOnce, {{upper}, {lower}}), "");
  EXPECT_THAT(defect(Held::kOnce, {{upper}, {upper}}), HasSubstr("overlap"));
  EXPECT_THAT(defect(Held::kOnce, {{upper}, {}}), HasSubstr("8 elements of 16"));
  EXPECT_EQ(defect(Held::kCopies, {{upper}, {upper}, {lower}}), "");
  EXPECT_THAT(defect(Held::kCopies, {{upper}, {upper}}), HasSubstr("8 elements of 16"));
  EXPECT_THAT(defect(Held::kCopies, {{whole}, {upper}}), HasSubstr("overlap"));
  EXPECT_EQ(defect(Held::kEverywhere, {{whole}, {lower, upper}}), "");
  EXPECT_THAT(defect(Held::kEverywhere, {{whole}, {upper}}), HasSubstr("8 elements of 16"));
}

TEST(Bounds, FollowRoundOffDepthAndLengths) {
  DecoderConfig model;
  const auto bounds = [&](Precision precision, int64_t tokens, bool both_round = false) {
    return Bounds(model, {.vocabulary = 8192, .sequence = 512, .tokens = tokens}, precision, both_round);
  };
  // Double precision is checked far below the 1e-9 that layouts are held to.
  EXPECT_LT(bounds(Precision::kFp64, 1 << 20).gradients(1), 1e-11);
  EXPECT_NEAR(bounds(Precision::kFp32, 1 << 20).forward(1) / bounds(Precision::kFp64, 1 << 20).forward(1), 0x1p29, 1);
  // Tokens are added up in parameters' gradients alone: 16 times as many, a sum 4 times as bad.
  EXPECT_EQ(bounds(Precision::kFp32, 1 << 24).backward(1), bounds(Precision::kFp32, 1 << 20).backward(1));
  const double sums = bounds(Precision::kFp32, 1 << 28).gradients(1) / bounds(Precision::kFp32, 1 << 24).gradients(1);
  EXPECT_NEAR(sums, 4, 0.01);
  // bf16 adds up in fp32, and the results' rounding counts.
  EXPECT_LT(bounds(Precision::kBf16, 1 << 20).gradients(1), 0.1);
  EXPECT_NEAR(bounds(Precision::kFp32, 512, true).forward(1) / bounds(Precision::kFp32, 512).forward(1), std::sqrt(2.0),
              1e-9);
  const double shallow = bounds(Precision::kFp32, 512).forward(1);
  model.layers *= 4;
  EXPECT_NEAR(bounds(Precision::kFp32, 512).forward(1) / shallow, 2, 0.1);
  // Of a hundred rows the largest error is beyond that of one.
  EXPECT_NEAR(bounds(Precision::kFp32, 512).forward(100) / bounds(Precision::kFp32, 512).forward(1),
              std::sqrt(std::log(200) / std::log(2)), 1e-9);
  // A dense network counts only where a layer has one.
  const double mixtures = bounds(Precision::kFp32, 512).forward(1);
  model.feed_forward.width *= 100;
  EXPECT_EQ(bounds(Precision::kFp32, 512).forward(1), mixtures);
}

}  // namespace
}  // namespace switchyard
