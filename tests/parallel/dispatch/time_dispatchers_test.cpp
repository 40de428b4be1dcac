#include "parallel/dispatch/time_dispatchers.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(TimeDispatchers, TheFastestIsTheOneThatTookLeast) {
  using enum DispatcherKind;
  EXPECT_EQ(fastest_of({{kAllToAll, 2}, {kDeduplicated, 1}, {kHierarchical, 3}}), kDeduplicated);
  EXPECT_EQ(fastest_of({{kAllToAll, 3}, {kHierarchical, 1}}), kHierarchical);
  EXPECT_EQ(fastest_of({{kAllToAll, 1}, {kDeduplicated, 1}}), kAllToAll);
}

}  // namespace
}  // namespace switchyard
