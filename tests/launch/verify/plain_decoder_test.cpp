// The reference itself against a plain PyTorch implementation (tests/golden/make_decoder.py): what verification stands
// on.

#include "launch/verify/plain_decoder.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "launch/verify/one_rank.h"
#include "tests/support/golden.h"
#include "tests/support/token_batches.h"

namespace switchyard {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

constexpr int64_t kVocabulary = 61, kParts = 2, kSteps = 5;

// The sizes at the top of make_decoder.py.
DecoderConfig golden_config() {
  DecoderConfig config;
  config.width = 32;
  config.layers = 3;
  config.attention = {.heads = 4, .kv_heads = 2, .head_width = 8};
  config.feed_forward.width = 48;
  config.moe.first_dense = 1;
  config.moe.experts = 6;
  config.moe.experts_per_token = 2;
  config.moe.expert_width = 24;
  config.moe.shared_experts = 1;
  return config;
}

TokenBatch golden_batch(const Tensors& initial, int64_t step, int64_t part) {
  const GlobalStep all{12, initial.at("batch.tokens")[step], initial.at("batch.targets")[step],
                       initial.at("batch.positions")[step], initial.at("batch.piece")[step]};
  TokenBatch batch = cut_batch(all, part, kParts, 1, 0);
  batch.step = step;
  return batch;
}

double largest(const at::Tensor& difference) {
  return difference.abs().max().item<double>();
}

class GoldenDecoder : public testing::Test {
 protected:
  GoldenDecoder() : model_(golden_config(), kVocabulary, Precision::kFp64, 1, one_rank_.mesh()) {
    for (PlainParameter& parameter : model_.parameters().all()) parameter.master.copy_(initial_.at(parameter.name));
    model_.parameters().round_values();
  }

  // Forward and backward.
  void run(int64_t step) {
    logits_.clear();
    loss_ = auxiliary_loss_ = 0;
    model_.parameters().zero_gradients();
    for (int64_t part = 0; part < kParts; ++part) {
      PlainOutput output = model_.forward(golden_batch(initial_, step, part),
                                          [](int64_t, PlainRouter& router, const at::Tensor& x_TD,
                                             const TokenContext& context) { return router.choose(x_TD, context); });
      (output.loss + output.auxiliary_loss).backward();
      loss_ += output.loss.item<double>();
      auxiliary_loss_ += output.auxiliary_loss.item<double>();
      logits_.push_back(output.logits_TV.detach());
    }
  }

  const Tensors initial_ = read_golden("decoder_initial.safetensors");
  const OneRank one_rank_;
  PlainDecoder model_;
  std::vector<at::Tensor> logits_;
  double loss_ = 0, auxiliary_loss_ = 0;
};

TEST_F(GoldenDecoder, HasPyTorchsLogitsAndGradients) {
  const Tensors first = read_golden("decoder_first_step.safetensors");
  run(0);
  EXPECT_LE(largest(at::cat(logits_) - first.at("logits")), 1e-11);
  for (const PlainParameter& parameter : model_.parameters().all()) {
    EXPECT_LE(largest(parameter.gradient - first.at("gradient." + parameter.name)), 1e-11) << parameter.name;
  }
  EXPECT_EQ(model_.parameters().all().size() + 1, first.size());
}

TEST_F(GoldenDecoder, TakesPyTorchsFiveSteps) {
  const Tensors final = read_golden("decoder_final.safetensors");
  const double lr[kSteps] = {1e-3, 3e-3, 3e-3, 2e-3, 1e-3};
  const OptimizerConfig optimizer;
  for (int64_t step = 0; step < kSteps; ++step) {
    run(step);
    EXPECT_NEAR(loss_, final.at("loss")[step].item<double>(), 1e-10);
    EXPECT_NEAR(auxiliary_loss_, final.at("auxiliary_loss")[step].item<double>(), 1e-10);
    const double norm = model_.parameters().gradient_norm();
    EXPECT_NEAR(norm, final.at("grad_norm")[step].item<double>(), 1e-9);
    model_.parameters().update(optimizer, step + 1, lr[step], std::min(1.0, 0.5 / (norm + 1e-6)));
    model_.parameters().round_values();
  }
  for (const PlainParameter& parameter : model_.parameters().all()) {
    EXPECT_LE(largest(parameter.master - final.at(parameter.name)), 1e-10) << parameter.name;
  }
}

}  // namespace
}  // namespace switchyard
