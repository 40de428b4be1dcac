// Comparing runs of a decoder.
#pragma once

#include <algorithm>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/decoder_case.h"

namespace switchyard {

inline double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

inline double relative_to_norm(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm().clamp_min(1e-30)).item<double>();
}

inline void expect_equal_runs(const DecoderRun& run, const DecoderRun& reference, double bound,
                              double (*distance)(const at::Tensor&, const at::Tensor&)) {
  ASSERT_EQ(run.loss.size(), reference.loss.size());
  for (size_t step = 0; step < run.loss.size(); ++step) {
    EXPECT_NEAR(run.loss[step], reference.loss[step], bound * std::max(1.0, reference.loss[step])) << "step " << step;
    EXPECT_NEAR(run.auxiliary_loss[step], reference.auxiliary_loss[step], bound) << "step " << step;
    EXPECT_NEAR(run.grad_norm[step], reference.grad_norm[step], bound * std::max(1.0, reference.grad_norm[step]))
        << "step " << step;
  }
  ASSERT_EQ(run.gradients.size(), reference.gradients.size());
  for (const auto& [name, gradient] : reference.gradients) {
    EXPECT_LE(distance(run.gradients.at(name), gradient), bound) << "gradient of " << name;
    EXPECT_GT(gradient.abs().max().item<double>(), 0) << name << " has no gradient: the test is blind";
  }
  ASSERT_EQ(run.parameters.size(), reference.parameters.size());
  for (const auto& [name, value] : reference.parameters) {
    EXPECT_LE(distance(run.parameters.at(name), value), bound) << name << " after the last step";
  }
}

}  // namespace switchyard
