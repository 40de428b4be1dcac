#include "runtime/device/memory.h"

#include <vector>

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(Memory, FollowsWhatIsTouchedAndRemembersThePeak) {
  constexpr int64_t kBytes = int64_t{64} << 20;
  const int64_t before = resident_bytes();
  ASSERT_GT(before, 0);
  {
    const std::vector<char> block(kBytes, 1);
    EXPECT_GE(resident_bytes(), before + kBytes * 9 / 10);
    EXPECT_EQ(block.back(), 1);
  }
  EXPECT_LT(resident_bytes(), before + kBytes / 2);
  EXPECT_GE(peak_resident_bytes(), before + kBytes * 9 / 10);
}

}  // namespace
}  // namespace switchyard
