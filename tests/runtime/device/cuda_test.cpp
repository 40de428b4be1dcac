#include "runtime/device/cuda.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "runtime/device/device.h"

namespace switchyard {
namespace {

TEST(Cuda, DevicesHaveNamesAndMemoryAndAreNamedInTheRefusal) {
  const auto devices = cuda_devices();
  if (!devices.ok()) GTEST_SKIP() << "no CUDA device: " << devices.status().message();
  if (devices->empty()) GTEST_SKIP() << "no CUDA device on this machine";
  const absl::Status refusal = choose_device("cuda").status();
  EXPECT_EQ(error_category(refusal), ErrorCategory::kUnavailable);
  for (const CudaDevice& device : *devices) {
    EXPECT_NE(device.name, "");
    EXPECT_GE(device.memory_bytes, int64_t{1} << 30);
    EXPECT_THAT(std::string(refusal.message()), testing::HasSubstr(device.name));
  }
}

}  // namespace
}  // namespace switchyard
