#include "runtime/device/device.h"

#include <gtest/gtest.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

TEST(Device, AutoAndCpuAreTheCpu) {
  for (const char* wanted : {"auto", "cpu"}) {
    const auto device = choose_device(wanted);
    ASSERT_TRUE(device.ok());
    EXPECT_TRUE(device->is_cpu());
  }
}

TEST(Device, WhatIsNotThereIsSaid) {
  EXPECT_EQ(error_category(choose_device("cuda").status()), ErrorCategory::kUnavailable);
  EXPECT_EQ(error_category(choose_device("tpu").status()), ErrorCategory::kBadConfig);
}

}  // namespace
}  // namespace switchyard
