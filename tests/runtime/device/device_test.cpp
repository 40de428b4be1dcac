#include "runtime/device/device.h"

#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "runtime/device/cuda.h"

namespace switchyard {
namespace {

TEST(Device, TheCpuIsTheCpu) {
  const auto chosen = choose_device("cpu", 3);
  ASSERT_TRUE(chosen.ok());
  EXPECT_TRUE(chosen->device.is_cpu());
  EXPECT_EQ(chosen->description, "cpu");
  EXPECT_EQ(chosen->id, "");
}

TEST(Device, AutoIsAlwaysSomething) {
  EXPECT_TRUE(choose_device("auto", 0).ok());
}

TEST(Device, WhatIsNotThereIsSaid) {
  EXPECT_EQ(error_category(choose_device("tpu", 0).status()), ErrorCategory::kBadConfig);
  const auto devices = cuda_devices();
  if (devices.ok() && !devices->empty()) return;
  const absl::Status refusal = choose_device("cuda", 0).status();
  EXPECT_EQ(error_category(refusal), ErrorCategory::kUnavailable);
  EXPECT_NE(refusal.message().find(absl::string_view("run.device: cuda: ")), absl::string_view::npos) << refusal;
}

}  // namespace
}  // namespace switchyard
