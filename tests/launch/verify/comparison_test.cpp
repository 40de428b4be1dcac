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
  return [bound](const std::string&, const Compared& compared) { return Measure{compared.norm, bound}; };
}

const at::Tensor& numbers() {
  static const at::Tensor x = at::arange(12, at::kDouble).view({6, 2}) + 1;
  return x;
}

// Two ranks; the reference is cut after row 4, the layout after row `cut`.
std::vector<Row> compare_rows(const at::Tensor& layout, int64_t cut, Held held, bool last_is_there = true) {
  std::vector<Row> rows;
  run_ranks(2, [&](Communicator& world) {
    const bool first = world.rank() == 0;
    const TensorPart reference = first ? rows_of(numbers(), 0, 4) : rows_of(numbers(), 4, 6);
    const TensorPart mine = first ? rows_of(layout, 0, cut) : rows_of(layout, cut, last_is_there ? 6 : 5);
    const auto result = value_or_throw(compare(world, Quantity::kGradients, 3, held, std::vector<TensorPart>{reference},
                                               std::vector<TensorPart>{mine}, relative_to(1e-3)));
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
  EXPECT_THAT(compare_rows(numbers(), 3, Held::kEverywhere).at(0).defect, HasSubstr("12 elements of 24"));
  at::Tensor none = numbers().clone();
  none[2][0] = NAN;
  EXPECT_FALSE(compare_rows(none, 3, Held::kOnce).at(0).pass());
}

TEST(Compare, SeesTensorsThatOnlyOneSideHas) {
  run_ranks(2, [&](Communicator& world) {
    std::vector<TensorPart> reference, layout;
    if (world.rank() == 0) reference.push_back(whole_part("theirs", numbers()));
    if (world.rank() == 1) layout.push_back(whole_part("ours", numbers()));
    const auto rows =
        value_or_throw(compare(world, Quantity::kGradients, 0, Held::kOnce, reference, layout, relative_to(1e-3)));
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

TEST(Bounds, FollowRoundOffDepthAndLength) {
  DecoderConfig model;
  const auto bounds = [&](Precision precision, int64_t tokens) { return Bounds(model, 8192, tokens, precision); };
  // Double precision is checked far below the 1e-9 that layouts are held to.
  EXPECT_LT(bounds(Precision::kFp64, 1 << 20).backward(), 1e-11);
  EXPECT_NEAR(bounds(Precision::kFp32, 1 << 20).forward() / bounds(Precision::kFp64, 1 << 20).forward(), 0x1p29, 1);
  // 16 times as many tokens: a sum 4 times as bad; in bf16 it is taken in fp32, and the result's rounding counts.
  const double sums = bounds(Precision::kFp32, 1 << 24).backward() / bounds(Precision::kFp32, 1 << 20).backward();
  EXPECT_NEAR(sums, 4, 0.01);
  EXPECT_LT(bounds(Precision::kBf16, 1 << 20).backward(), 0.3);
  const double shallow = bounds(Precision::kFp32, 512).backward();
  model.layers *= 4;
  EXPECT_NEAR(bounds(Precision::kFp32, 512).backward() / shallow, 2, 0.1);
}

}  // namespace
}  // namespace switchyard
