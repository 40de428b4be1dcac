// Training steps of the whole decoder on a device against the CPU: losses, norms, every gradient, every parameter.

#include "tests/support/device.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/layers/models/decoder/router_kinds.h"
#include "tests/support/decoder_case.h"

namespace switchyard {
namespace {

void expect_equal_runs(DecoderCase what, c10::Device device, double bound, int chunks = 1) {
  MeshShape shape = mesh_shape(1);
  const DecoderRun expected = run_decoder(what, shape, true);
  what.device = device;
  shape.dispatch_chunks = chunks;
  const DecoderRun actual = run_decoder(what, shape, true);
  EXPECT_LE(relative_difference(actual.logits, expected.logits), bound);
  for (size_t step = 0; step < expected.loss.size(); ++step) {
    EXPECT_NEAR(actual.loss[step], expected.loss[step], bound * std::max(1.0, expected.loss[step])) << step;
    EXPECT_NEAR(actual.auxiliary_loss[step], expected.auxiliary_loss[step], bound) << step;
    EXPECT_NEAR(actual.grad_norm[step], expected.grad_norm[step], bound * expected.grad_norm[step]) << step;
  }
  ASSERT_EQ(actual.gradients.size(), expected.gradients.size());
  for (const auto& [name, gradient] : expected.gradients) {
    EXPECT_GT(gradient.abs().max().item<double>(), 0) << name << " has no gradient: the test is blind";
    EXPECT_LE(relative_difference(actual.gradients.at(name), gradient), bound) << "gradient of " << name;
  }
  for (const auto& [name, value] : expected.parameters) {
    EXPECT_LE(relative_difference(actual.parameters.at(name), value), bound) << name << " after the last step";
  }
}

TEST(DecoderOnDevice, EqualsTheCpuInFp64) {
  SY_DEVICE_OR_SKIP();
  expect_equal_runs(small_decoder_case(), device, 1e-9);
}

TEST(DecoderOnDevice, EqualsTheCpuInFp64WithRecomputedLayers) {
  SY_DEVICE_OR_SKIP();
  DecoderCase what = small_decoder_case();
  what.recompute = Recompute::kLayers;
  what.model.tie_embeddings = true;
  what.model.moe.activation = "gelu";
  expect_equal_runs(what, device, 1e-9);
}

TEST(DecoderOnDevice, EqualsTheCpuInFp64WithRecomputedActivationsAndInChunks) {
  SY_DEVICE_OR_SKIP();
  DecoderCase what = small_decoder_case();
  what.recompute = Recompute::kActivations;
  expect_equal_runs(what, device, 1e-9);
  what.recompute = Recompute::kNone;
  expect_equal_runs(what, device, 1e-9, 3);
}

TEST(DecoderOnDevice, EqualsTheCpuInFp32) {
  SY_DEVICE_OR_SKIP();
  DecoderCase what = small_decoder_case();
  what.dtype = at::kFloat;
  expect_equal_runs(what, device, 1e-5);
}

class RoutersOnDevice : public testing::TestWithParam<RouterKind> {};

TEST_P(RoutersOnDevice, EqualTheCpuInFp64) {
  SY_DEVICE_OR_SKIP();
  expect_equal_runs(case_of(GetParam()), device, 1e-9);
}

INSTANTIATE_TEST_SUITE_P(Kinds, RoutersOnDevice, testing::ValuesIn(router_kinds()), name_of);

// bf16 rounds what two orders of a sum leave a hair apart to neighbours, so only the first losses are compared.
TEST(DecoderOnDevice, LossesFollowTheCpuInBf16) {
  SY_DEVICE_OR_SKIP();
  DecoderCase what = small_decoder_case();
  what.dtype = at::kBFloat16;
  what.model.attention.head_width = 8;
  const DecoderRun expected = run_decoder(what, mesh_shape(1));
  what.device = device;
  const DecoderRun actual = run_decoder(what, mesh_shape(1));
  for (size_t step = 0; step < expected.loss.size(); ++step) {
    EXPECT_NEAR(actual.loss[step], expected.loss[step], 0.02 * expected.loss[step]) << step;
  }
  EXPECT_NEAR(actual.grad_norm[0], expected.grad_norm[0], 0.05 * expected.grad_norm[0]);
}

}  // namespace
}  // namespace switchyard
