#include "runtime/device/cuda.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "runtime/device/device.h"

namespace switchyard {
namespace {

TEST(Cuda, DevicesHaveNamesMemoryAndIdsAndRanksTakeThemInTurn) {
  const auto devices = cuda_devices();
  if (!devices.ok()) GTEST_SKIP() << "no CUDA device: " << devices.status().message();
  if (devices->empty()) GTEST_SKIP() << "no CUDA device on this machine";
  const int count = static_cast<int>(devices->size());
  for (int rank = 0; rank < count; ++rank) {
    const CudaDevice& device = (*devices)[rank];
    EXPECT_NE(device.name, "");
    EXPECT_GE(device.memory_bytes, int64_t{1} << 30);
    for (const char* wanted : {"auto", "cuda"}) {
      const auto chosen = choose_device(wanted, rank);
      ASSERT_TRUE(chosen.ok()) << chosen.status();
      EXPECT_EQ(chosen->device, c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(rank)));
      EXPECT_THAT(chosen->description, testing::HasSubstr(device.name));
      EXPECT_EQ(chosen->id, device.id);
    }
  }
  EXPECT_EQ(choose_device("cuda", count)->id, devices->front().id);
}

}  // namespace
}  // namespace switchyard
