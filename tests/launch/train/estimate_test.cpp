#include "launch/train/estimate.h"

#include <gtest/gtest.h>

#include "layers/ops/cross_entropy.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

constexpr int64_t kVocabulary = 7;

// Two layers of four experts, the first of them dense, for 4 sequences of 512 tokens a part.
RunConfig small_config() {
  RunConfig config;
  config.model.width = 8;
  config.model.layers = 2;
  config.model.vocabulary = kVocabulary;
  config.model.attention.heads = 2;
  config.model.attention.kv_heads = 1;
  config.model.attention.head_width = 4;
  config.model.feed_forward.width = 10;
  config.model.moe.first_dense = 1;
  config.model.moe.experts = 4;
  config.model.moe.experts_per_token = 2;
  config.model.moe.expert_width = 6;
  config.data.sequence = 512;
  config.train.global_batch = 8;
  config.train.accumulation = 2;
  config.train.precision = "fp32";
  return config;
}

int64_t activation_elements(const RunConfig& config, MeshShape shape) {
  int64_t bytes = 0;
  run_mesh(shape, [&](const Mesh& mesh) {
    Recorder recorder;
    const auto job = build_job(config, kVocabulary, mesh, c10::kCPU, recorder);
    if (mesh.world().rank() == 0) bytes = estimate_memory(*job).activations;
  });
  return bytes / static_cast<int64_t>(sizeof(float));
}

// Of a token: residual inputs and norms, q and what attention gives, k and v.
constexpr int64_t kAttention = 4 * 8 + (2 * 2 + 2 * 1) * 4;
constexpr int64_t kDense = (2 + 1) * 10;           // gate, up, what goes down
constexpr int64_t kMixture = 2 * (2 * 8 + 2 * 6);  // of two experts: input, output, gate, up
constexpr int64_t kTokens = 4 * 512;

TEST(MemoryEstimate, CountsWhatIsKeptOfATokenAndItsLogits) {
  const int64_t kept = kTokens * (2 * kAttention + kDense + kMixture);
  EXPECT_EQ(activation_elements(small_config(), mesh_shape(1)), kept + kTokens * kVocabulary);
  EXPECT_EQ(activation_elements(small_config(), mesh_shape(2, 1, 2)), (kept + kTokens * kVocabulary) / 2);
}

TEST(MemoryEstimate, KeepsABlockOfLogitsWhereTheyAreMadeAgain) {
  static_assert(kLossBlockRows < kTokens);
  RunConfig config = small_config();
  config.train.recompute = "activation";
  EXPECT_EQ(activation_elements(config, mesh_shape(1)),
            kTokens * (2 * kAttention + 2 * 2 * 8) + kLossBlockRows * kVocabulary);
  config.train.recompute = "layer";  // all of the last layer, the input alone of the others
  EXPECT_EQ(activation_elements(config, mesh_shape(1)),
            kTokens * (8 + kAttention + kMixture) + kLossBlockRows * kVocabulary);
}

TEST(MemoryEstimate, AddsWhatChunksKeepUntilAllWeightsGradientsAreMade) {
  MeshShape shape = mesh_shape(2, 1, 2);
  const int64_t whole = activation_elements(small_config(), shape);
  shape.dispatch_chunks = 4;
  EXPECT_EQ(activation_elements(small_config(), shape) - whole, kTokens / 2 * 2 * (8 + 3 * 6));
}

}  // namespace
}  // namespace switchyard
