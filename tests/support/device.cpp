#include "tests/support/device.h"

#include <ATen/ATen.h>

#include "runtime/base/check.h"
#include "runtime/device/device.h"

namespace switchyard {

TestDevice test_device() {
  const auto chosen = choose_device("cuda", 0);
  if (!chosen.ok()) return {c10::kCPU, std::string(chosen.status().message())};
  return {chosen->device, ""};
}

double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  SY_CHECK(a.sizes() == b.sizes());
  if (a.numel() == 0) return 0;
  const at::Tensor x = a.detach().cpu().to(at::kDouble), y = b.detach().cpu().to(at::kDouble);
  return ((x - y).norm() / y.norm().clamp_min(1e-30)).item<double>();
}

double device_tolerance(at::ScalarType dtype) {
  return dtype == at::kDouble ? 1e-12 : dtype == at::kFloat ? 2e-6 : 1e-2;
}

}  // namespace switchyard
