#include "parallel/gradient/ownership.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using testing::ElementsAre;

Slice slice_of(std::vector<int64_t> shape, AxisSet replicated = {Axis::kData}) {
  Slice slice;
  slice.spec = {"w", shape, Box::whole(shape), replicated, replicated};
  return slice;
}

TEST(Ownership, LargeTensorsAreCutAlongDimensionZero) {
  OwnerAssignment assignment;
  EXPECT_THAT(assignment.next(slice_of({7, 4096}), 3),
              ElementsAre(Range{0, 2 * 4096}, Range{2 * 4096, 4 * 4096}, Range{4 * 4096, 7 * 4096}));
  EXPECT_THAT(assignment.next(slice_of({7, 4096}), 1), ElementsAre(Range{0, 7 * 4096}));
}

TEST(Ownership, SmallAndNarrowTensorsStayWholeAndSpread) {
  OwnerAssignment assignment;
  const Range none{0, 0};
  EXPECT_THAT(assignment.next(slice_of({100}), 3), ElementsAre(Range{0, 100}, none, none));
  EXPECT_THAT(assignment.next(slice_of({10, 5}), 3), ElementsAre(none, Range{0, 50}, none));
  EXPECT_THAT(assignment.next(slice_of({2, 100000}), 3), ElementsAre(none, none, Range{0, 200000}));
  EXPECT_THAT(assignment.next(slice_of({20}), 3), ElementsAre(none, Range{0, 20}, none));
  EXPECT_THAT(assignment.next(slice_of({}), 3), ElementsAre(none, Range{0, 1}, none));
  // Another group counts for itself.
  EXPECT_THAT(assignment.next(slice_of({9}, {Axis::kExpertData}), 2), ElementsAre(Range{0, 9}, none));
}

TEST(Ownership, EmptyBoxesHaveNoOwner) {
  OwnerAssignment assignment;
  Slice slice = slice_of({5, 8});
  slice.spec.box.extent = {0, 8};
  EXPECT_THAT(assignment.next(slice, 2), ElementsAre(Range{0, 0}, Range{0, 0}));
}

TEST(Ownership, OwnedBoxesAreGlobal) {
  Slice slice = slice_of({100, 8});
  slice.spec.box = {{50, 4}, {20, 4}};
  EXPECT_EQ(owned_box(slice, {0, 80}), (Box{{50, 4}, {20, 4}}));
  EXPECT_EQ(owned_box(slice, {12, 32}), (Box{{53, 4}, {5, 4}}));
}

}  // namespace
}  // namespace switchyard
