#include "parallel/optimizer/schedule.h"

#include <gtest/gtest.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

OptimizerConfig config_of(const std::string& kind) {
  OptimizerConfig config;
  config.lr = 1;
  config.schedule = {.kind = kind, .warmup = 10, .min_lr = 0.1, .decay = 0};
  return config;
}

TEST(Schedule, WarmUpIsLinearForAll) {
  for (const char* kind : {"constant", "cosine", "linear", "wsd"}) {
    const OptimizerConfig config = config_of(kind);
    EXPECT_EQ(learning_rate(config, 0, 110), 0) << kind;
    EXPECT_DOUBLE_EQ(learning_rate(config, 1, 110), 0.1) << kind;
    EXPECT_DOUBLE_EQ(learning_rate(config, 5, 110), 0.5) << kind;
    EXPECT_EQ(learning_rate(config, 10, 110), 1) << kind;
  }
}

TEST(Schedule, CosineLinearAndConstant) {
  EXPECT_EQ(learning_rate(config_of("constant"), 1000, 110), 1);
  EXPECT_DOUBLE_EQ(learning_rate(config_of("cosine"), 60, 110), 0.55);
  EXPECT_NEAR(learning_rate(config_of("cosine"), 35, 110), 0.1 + 0.9 * (0.5 + 0.25 * 1.4142135623730951), 1e-15);
  EXPECT_DOUBLE_EQ(learning_rate(config_of("linear"), 35, 110), 0.1 + 0.9 * 0.75);
  for (const char* kind : {"cosine", "linear", "wsd"}) {
    EXPECT_EQ(learning_rate(config_of(kind), 110, 110), 0.1) << kind;
    EXPECT_EQ(learning_rate(config_of(kind), 500, 110), 0.1) << kind;
  }
}

TEST(Schedule, WarmUpStableDecay) {
  OptimizerConfig config = config_of("wsd");
  EXPECT_EQ(learning_rate(config, 90, 100), 1);  // auto: the last tenth
  EXPECT_DOUBLE_EQ(learning_rate(config, 95, 100), 0.55);
  config.schedule.decay = 50;
  EXPECT_EQ(learning_rate(config, 50, 100), 1);
  EXPECT_DOUBLE_EQ(learning_rate(config, 75, 100), 0.55);
  config.schedule.decay = 1000;  // begins when warm-up ends
  EXPECT_EQ(learning_rate(config, 10, 110), 1);
  EXPECT_DOUBLE_EQ(learning_rate(config, 60, 110), 0.55);
}

TEST(Schedule, RunsShorterThanWarmUp) {
  EXPECT_DOUBLE_EQ(learning_rate(config_of("cosine"), 5, 5), 0.5);
  EXPECT_EQ(learning_rate(config_of("cosine"), 10, 10), 1);
}

TEST(OptimizerConfig, Validates) {
  OptimizerConfig config = config_of("cosine");
  EXPECT_TRUE(config.validate().ok());
  config.betas = {0.9};
  EXPECT_EQ(error_category(config.validate()), ErrorCategory::kBadConfig);
  config = config_of("cosine");
  config.schedule.min_lr = 2;
  EXPECT_EQ(error_category(config.validate()), ErrorCategory::kBadConfig);
  config.schedule.kind = "constant";
  EXPECT_TRUE(config.validate().ok());
}

}  // namespace
}  // namespace switchyard
