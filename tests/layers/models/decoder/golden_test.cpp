// The decoder against a plain PyTorch implementation (tests/golden/make_decoder.py).

#include "tests/support/golden.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/support/decoder_case.h"

namespace switchyard {
namespace {

// The sizes at the top of make_decoder.py.
DecoderCase golden_case(const std::map<std::string, at::Tensor>& initial) {
  DecoderCase what;
  what.model.width = 32;
  what.model.layers = 3;
  what.model.attention.heads = 4;
  what.model.attention.kv_heads = 2;
  what.model.attention.head_width = 8;
  what.model.feed_forward.width = 48;
  what.model.moe.first_dense = 1;
  what.model.moe.experts = 6;
  what.model.moe.experts_per_token = 2;
  what.model.moe.expert_width = 24;
  what.model.moe.shared_experts = 1;
  what.vocabulary = 61;
  what.parts = 2;
  what.optimizer.clip = 0.5;
  what.lr = {1e-3, 3e-3, 3e-3, 2e-3, 1e-3};
  for (int64_t step = 0; step < 5; ++step) {
    what.steps.push_back({12, initial.at("batch.tokens")[step], initial.at("batch.targets")[step],
                          initial.at("batch.positions")[step], initial.at("batch.piece")[step]});
  }
  for (const auto& [name, value] : initial) {
    if (!name.starts_with("batch.")) what.initial[name] = value;
  }
  return what;
}

TEST(Golden, LogitsLossesGradientsAndFiveStepsMatchPyTorch) {
  const auto initial = read_golden("decoder_initial.safetensors");
  const auto first = read_golden("decoder_first_step.safetensors");
  const auto final = read_golden("decoder_final.safetensors");
  const DecoderRun run = run_decoder(golden_case(initial), mesh_shape(1), /*gather_logits=*/true);

  EXPECT_LE((run.logits - first.at("logits")).abs().max().item<double>(), 1e-11);
  for (const auto& [name, gradient] : run.gradients) {
    EXPECT_LE((gradient - first.at("gradient." + name)).abs().max().item<double>(), 1e-11) << name;
  }
  EXPECT_EQ(run.gradients.size() + 1, first.size());
  for (int64_t step = 0; step < 5; ++step) {
    EXPECT_NEAR(run.loss[step], final.at("loss")[step].item<double>(), 1e-10);
    EXPECT_NEAR(run.auxiliary_loss[step], final.at("auxiliary_loss")[step].item<double>(), 1e-10);
    EXPECT_NEAR(run.grad_norm[step], final.at("grad_norm")[step].item<double>(), 1e-9);
  }
  for (const auto& [name, value] : run.parameters) {
    EXPECT_LE((value - final.at(name)).abs().max().item<double>(), 1e-10) << name << " after five steps";
  }
  EXPECT_EQ(run.parameters.size() + 3, final.size());
}

}  // namespace
}  // namespace switchyard
