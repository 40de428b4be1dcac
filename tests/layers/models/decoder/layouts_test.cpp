// The whole decoder on many layouts against one rank: losses, norms, every gradient, every parameter after five steps.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/decoder_case.h"

namespace switchyard {
namespace {

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

double relative_to_norm(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm().clamp_min(1e-30)).item<double>();
}

void expect_equal_runs(const DecoderRun& run, const DecoderRun& reference, double bound,
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
    EXPECT_LE(distance(run.parameters.at(name), value), bound) << name << " after five steps";
  }
}

const DecoderRun& reference_run() {
  static const DecoderRun run = run_decoder(small_decoder_case(), mesh_shape(1));
  return run;
}

DecoderCase fp32_case() {
  DecoderCase what = small_decoder_case();
  what.dtype = at::kFloat;
  return what;
}

class Layouts : public testing::TestWithParam<MeshShape> {};

TEST_P(Layouts, EqualOneRankInFp64) {
  expect_equal_runs(run_decoder(small_decoder_case(), GetParam()), reference_run(), 1e-9, difference);
}

TEST_P(Layouts, EqualOneRankInFp32RelativeToNorms) {
  static const DecoderRun reference = run_decoder(fp32_case(), mesh_shape(1));
  expect_equal_runs(run_decoder(fp32_case(), GetParam()), reference, 1e-5, relative_to_norm);
}

// mesh_shape(ranks, tensor, expert, expert_tensor). The case has 3 kv heads, 5 experts, 61 tokens of vocabulary and 3
// sequences a part, so that most layouts are uneven; four data ranks leave one without tokens.
INSTANTIATE_TEST_SUITE_P(Grid, Layouts,
                         testing::Values(mesh_shape(2), mesh_shape(2, 1, 2), mesh_shape(2, 1, 1, 2), mesh_shape(3),
                                         mesh_shape(3, 3), mesh_shape(3, 1, 3), mesh_shape(3, 3, 3),
                                         mesh_shape(3, 1, 1, 3), mesh_shape(4), mesh_shape(4, 1, 2),
                                         mesh_shape(4, 1, 4), mesh_shape(4, 1, 2, 2), mesh_shape(6, 3),
                                         mesh_shape(6, 6), mesh_shape(6, 3, 2), mesh_shape(6, 6, 6),
                                         mesh_shape(6, 3, 3, 2), mesh_shape(6, 6, 2, 3), mesh_shape(6, 1, 3, 1),
                                         mesh_shape(6, 6, 1, 2)),
                         [](const auto& layout) {
                           const MeshShape& s = layout.param;
                           return "ranks" + std::to_string(s.ranks()) + "_tensor" + std::to_string(s.tensor) +
                                  "_expert" + std::to_string(s.expert) + "_expert_tensor" +
                                  std::to_string(s.expert_tensor);
                         });

TEST(Layouts, TiedEmbeddingsEqualOneRank) {
  DecoderCase what = small_decoder_case();
  what.model.tie_embeddings = true;
  const DecoderRun reference = run_decoder(what, mesh_shape(1));
  EXPECT_EQ(reference.parameters.count("head"), 0u);
  expect_equal_runs(run_decoder(what, mesh_shape(6, 3, 2)), reference, 1e-9, difference);
}

TEST(Layouts, RecomputedLayersEqualOneRank) {
  DecoderCase what = small_decoder_case();
  what.recompute = true;
  expect_equal_runs(run_decoder(what, mesh_shape(6, 3, 2)), reference_run(), 1e-9, difference);
}

TEST(Layouts, GeluExpertsWithoutRenormalisationEqualOneRank) {
  DecoderCase what = small_decoder_case();
  what.model.moe.activation = "gelu";
  what.model.feed_forward.activation = "relu";
  what.model.moe.router.renormalise = false;
  expect_equal_runs(run_decoder(what, mesh_shape(6, 3, 3, 2)), run_decoder(what, mesh_shape(1)), 1e-9, difference);
}

}  // namespace
}  // namespace switchyard
