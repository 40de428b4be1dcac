// For tests of what runs on a device: the device, or why there is none.
#pragma once

#include <string>

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

namespace switchyard {

// The CUDA device that this process was bound to. Skips the test, with the reason, where there is none.
#define SY_DEVICE_OR_SKIP()                                                \
  const auto [sy_device, sy_reason] = test_device();                       \
  if (!sy_reason.empty()) GTEST_SKIP() << "no CUDA device: " << sy_reason; \
  [[maybe_unused]] const c10::Device device = sy_device

struct TestDevice {
  c10::Device device;
  std::string reason;  // empty: there is one
};
TestDevice test_device();

// ‖a − b‖ / ‖b‖ in fp64 on the host; not a number nowhere.
double relative_difference(const at::Tensor& a, const at::Tensor& b);

// What results of this dtype may differ by, relative to their norm: sums in another order, other exponentials.
double device_tolerance(at::ScalarType dtype);

}  // namespace switchyard
