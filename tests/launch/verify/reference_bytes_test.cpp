#include "launch/verify/reference_bytes.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

RunConfig config_of(int64_t global_batch, int64_t accumulation) {
  RunConfig config;
  config.train.global_batch = global_batch;
  config.train.accumulation = accumulation;
  return config;
}

TEST(ReferenceBytes, CountParametersPartsAndWhatIsKeptOfAllParts) {
  const int64_t vocabulary = 1000, parameters = 1 << 20;
  const auto bytes = [&](const RunConfig& config) { return reference_bytes(config, vocabulary, parameters); };
  const RunConfig one = config_of(8, 1), two = config_of(16, 2);
  EXPECT_EQ(reference_bytes(one, vocabulary, 2 * parameters) - bytes(one), 11 * 8 * parameters);
  // A second part adds its logits and input gradients, twice, and no activations.
  const int64_t tokens = 8 * one.data.sequence;
  EXPECT_EQ(bytes(two) - bytes(one), 2 * 8 * tokens * (vocabulary + one.model.layers * one.model.width));
  EXPECT_GT(bytes(config_of(16, 1)), bytes(two));
}

// The reference recomputes nothing, whatever the layout does.
TEST(ReferenceBytes, DoNotDependOnRecomputation) {
  RunConfig config = config_of(8, 1);
  const int64_t none = reference_bytes(config, 1000, 1000);
  config.train.recompute = "layer";
  EXPECT_EQ(reference_bytes(config, 1000, 1000), none);
}

}  // namespace
}  // namespace switchyard
