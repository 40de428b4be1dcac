#include "launch/start/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Devices, EachRankHasOneOfItsOwnOrNoneHas) {
  EXPECT_TRUE(check_devices({{"a", "cuda:0 H100", "1"}, {"a", "cuda:1 H100", "2"}, {"b", "cuda:0 H100", "3"}}).ok());
  EXPECT_TRUE(check_devices({{"a", "cpu", ""}, {"a", "cpu", ""}}).ok());
}

TEST(Devices, TwoRanksOnOneAreNamed) {
  const absl::Status status =
      check_devices({{"a", "cuda:0 H100", "1"}, {"b", "cuda:0 H100", "2"}, {"b", "cuda:0 H100", "2"}});
  EXPECT_EQ(error_category(status), ErrorCategory::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("ranks 1, 2 on host b"), HasSubstr("cuda:0 H100"), HasSubstr("run.device=cpu")));
}

TEST(Devices, ARankWithoutAmongOthersWithIsNamed) {
  const absl::Status status = check_devices({{"a", "cuda:0 H100", "1"}, {"b", "cpu", ""}});
  EXPECT_EQ(error_category(status), ErrorCategory::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1 on host b has no CUDA device"));
}

TEST(Devices, TheCpuServesAllRanksAndNeedsNoOtherWires) {
  run_ranks(3, [](Communicator& world) {
    const auto device = choose_rank_device("cpu", world);
    ASSERT_TRUE(device.ok());
    EXPECT_TRUE(device->device.is_cpu());
    EXPECT_EQ(value_or_throw(connect_devices(*device, world, absl::Seconds(1))), nullptr);
    EXPECT_EQ(error_category(choose_rank_device("tpu", world).status()), ErrorCategory::kBadConfig);
  });
}

}  // namespace
}  // namespace switchyard
