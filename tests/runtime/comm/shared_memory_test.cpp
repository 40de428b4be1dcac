// How shared memory is handed out; that ranks meet in it is one of the bodies.
#include "runtime/comm/shared_memory.h"

#include <filesystem>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "runtime/base/status.h"
#include "tests/support/little_address_space.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

// What is given back is taken again, and rows of any width begin at a whole row of all().
TEST(SharedMemory, GrowsToWhatIsInUseAtOnce) {
  run_ranks(1, [](Communicator& world) {
    const auto memory = value_or_throw(SharedMemory::create(world));
    at::Tensor kept = memory->allocate(3, 7, at::kFloat);
    kept.fill_(5);
    const void* first = nullptr;
    for (int i = 0; i < 100; ++i) {
      const at::Tensor large = memory->allocate(1000, 1000, at::kDouble);
      if (i == 0) first = large.const_data_ptr();
      EXPECT_EQ(large.const_data_ptr(), first);
      large.fill_(i);
    }
    for (const int64_t width : {1, 3, 61, 512}) {
      const at::Tensor rows = memory->allocate(5, width, at::kBFloat16);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(rows.const_data_ptr()) % 64, 0u);
      rows.fill_(2);
      EXPECT_TRUE(at::equal(memory->all(width, at::kBFloat16).narrow(0, memory->row_of(rows), 5), rows));
    }
    EXPECT_TRUE(kept.eq(5).all().item<bool>());
    EXPECT_EQ(memory->allocate(0, 4, at::kFloat).numel(), 0);
  });
}

constexpr int64_t kLarge = int64_t{192} << 20;

at::Tensor large(const SharedMemory& memory) {
  return memory.allocate(kLarge / 4096, 1024, at::kFloat);
}

void allocate_little(const SharedMemory& memory, int64_t times) {
  for (int64_t i = 0; i < times; ++i) memory.allocate(5, 8, at::kFloat);
}

// By all segments of this process, of the system's memory.
int64_t held_bytes() {
  int64_t bytes = 0;
  for (const auto& file : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code closed;  // such as the iterator's own, by and by
    const std::string name = std::filesystem::read_symlink(file.path(), closed);
    struct stat status {};
    if (name.starts_with("/memfd:switchyard") && ::stat(file.path().c_str(), &status) == 0) {
      bytes += status.st_blocks * 512;
    }
  }
  return bytes;
}

TEST(SharedMemory, GivesBackWhatItHasNotNeededForLong) {
  run_ranks(1, [](Communicator& world) {
    const auto memory = value_or_throw(SharedMemory::create(world));
    const at::Tensor kept = memory->allocate(3, 7, at::kFloat).fill_(5);
    large(*memory).fill_(1);
    EXPECT_GE(held_bytes(), kLarge);
    allocate_little(*memory, 2 * SharedMemory::kRecent);
    EXPECT_LT(held_bytes(), kLarge / 2);
    EXPECT_TRUE(kept.eq(5).all().item<bool>());
    EXPECT_TRUE(large(*memory).fill_(2).eq(2).all().item<bool>());  // it grows again
  });
}

TEST(SharedMemory, KeepsWhatItNeedsNowAndThen) {
  run_ranks(1, [](Communicator& world) {
    const auto memory = value_or_throw(SharedMemory::create(world));
    large(*memory).fill_(1);
    for (int i = 0; i < 5; ++i) {
      allocate_little(*memory, SharedMemory::kRecent / 2);
      large(*memory);
    }
    EXPECT_GE(held_bytes(), kLarge);
  });
}

TEST(SharedMemory, GivesBackNothingBelowATensor) {
  run_ranks(1, [](Communicator& world) {
    const auto memory = value_or_throw(SharedMemory::create(world));
    at::Tensor below = large(*memory);
    const at::Tensor above = memory->allocate(3, 7, at::kFloat).fill_(5);
    below.reset();
    allocate_little(*memory, 3 * SharedMemory::kRecent);
    EXPECT_TRUE(above.eq(5).all().item<bool>());
  });
}

TEST(SharedMemory, KeepsWhatIsRetiredUntilAllHaveCome) {
  run_ranks(1, [](Communicator& world) {
    const auto memory = value_or_throw(SharedMemory::create(world));
    at::Tensor lent = memory->allocate(4, 8, at::kFloat).fill_(3);
    const void* const place = lent.const_data_ptr();
    memory->retire(lent);
    lent.reset();
    EXPECT_NE(memory->allocate(4, 8, at::kFloat).const_data_ptr(), place);
    memory->all_have_come();
    EXPECT_EQ(memory->allocate(4, 8, at::kFloat).const_data_ptr(), place);
  });
}

TEST(SharedMemory, HoldsWholeRowsOfItsOwn) {
  run_ranks(2, [](Communicator& world) {
    const auto memory = value_or_throw(SharedMemory::create(world));
    const at::Tensor rows = memory->allocate(4, 8, at::kFloat);
    EXPECT_TRUE(memory->holds(rows));
    EXPECT_TRUE(memory->holds(rows.narrow(0, 1, 2)));
    EXPECT_FALSE(memory->holds(rows.narrow(1, 2, 4)));
    EXPECT_FALSE(memory->holds(rows.view({-1}).narrow(0, 4, 8).view({1, 8})));
    EXPECT_FALSE(memory->holds(at::zeros({4, 8})));
    const int64_t others =
        memory->row_of(rows) + (world.rank() == 0 ? 1 : -1) * (memory->all(8, at::kFloat).size(0) / 2);
    EXPECT_FALSE(memory->holds(memory->all(8, at::kFloat).narrow(0, others, 4)));
  });
}

TEST(SharedMemory, OutlivesItsMakerInATensor) {
  at::Tensor left;
  run_ranks(1, [&](Communicator& world) {
    left = value_or_throw(SharedMemory::create(world))->allocate(2, 2, at::kFloat);
    left.fill_(1);
  });
  EXPECT_EQ(left.sum().item<float>(), 4);
}

TEST(SharedMemory, IsUnavailableWithoutAddresses) {
  const LittleAddressSpace little;
  run_ranks(2, [](Communicator& world) {
    const absl::Status refused = SharedMemory::create(world).status();
    EXPECT_EQ(error_category(refused), ErrorCategory::kUnavailable);
    EXPECT_NE(refused.message().find("no addresses for shared memory"), absl::string_view::npos) << refused.message();
  });
}

}  // namespace
}  // namespace switchyard
