#include "runtime/device/memory.h"

#include <vector>

#include <gtest/gtest.h>
#include <sys/resource.h>

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

// Last, since it changes what the first test sees.
TEST(Memory, FreedMemoryIsUsedAgainWithoutFreshPages) {
  keep_freed_memory();
  const auto faults = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
  };
  const auto touch = [] { EXPECT_EQ(std::vector<char>(int64_t{64} << 20, 1).back(), 1); };
  touch();
  const auto before = faults();
  touch();
  EXPECT_LT(faults() - before, 1000);  // of 16384 pages
}

}  // namespace
}  // namespace switchyard
