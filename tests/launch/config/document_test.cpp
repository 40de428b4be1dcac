#include "launch/config/document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/config/binder.h"
#include "launch/config/text.h"
#include "tests/launch/config/example_config.h"

namespace switchyard {
namespace {

TEST(Document, DumpHoldsEveryKeyInOrder) {
  EXPECT_EQ(dump_yaml(ExampleConfig()), R"(train:
  steps: 1000
  parts: 1
  shuffle: true
  dir: runs/a
  tags: []
optimizer:
  lr: 0.0003
  betas: [0.9, 0.95]
  schedule:
    kind: cosine
    min_lr: 0.00003
  epsilon: 1.0e-08
)");
}

TEST(Document, DumpReadsBack) {
  ExampleConfig config;
  config.train.steps = int64_t{1} << 60;
  config.train.parts = 0;
  config.train.dir = "odd: [name] #1 'x' \"y\"\n\xc3\xa9";
  config.train.tags = {"", "null", "true", "a, b", "1"};
  config.optimizer.lr = 0.1 + 0.2;
  config.optimizer.betas = {1.0 / 3, 5e-324};
  config.optimizer.epsilon = 1.7e308;
  const std::string text = dump_yaml(config);
  ExampleConfig read;
  const absl::Status status = bind_text(schema_of(read), text, "dump", {});
  ASSERT_TRUE(status.ok()) << status << "\n" << text;
  EXPECT_EQ(read.train.steps, config.train.steps);
  EXPECT_EQ(read.train.parts, 0);
  EXPECT_EQ(read.train.dir, config.train.dir);
  EXPECT_EQ(read.train.tags, config.train.tags);
  EXPECT_EQ(read.optimizer.lr, config.optimizer.lr);
  EXPECT_EQ(read.optimizer.betas, config.optimizer.betas);
  EXPECT_EQ(read.optimizer.epsilon, config.optimizer.epsilon);
  EXPECT_EQ(dump_yaml(read), text);
}

TEST(Document, ReferenceListsEveryKeyWithItsRule) {
  ExampleConfig config;
  const Schema schema = schema_of(config);
  const std::string text = reference_markdown(schema);
  for (const Field& field : schema.fields) EXPECT_THAT(text, testing::HasSubstr("| `" + field.path + "` |"));
  EXPECT_THAT(text, testing::HasSubstr("**`train`**: the run\n\n| key |"));
  EXPECT_THAT(text,
              testing::HasSubstr(
                  "| `train.parts` | an integer or auto | `1` | at least 1 and at most 64 | parts of a step |\n"));
  EXPECT_THAT(text, testing::HasSubstr("| `train.shuffle` | true or false | `true` | – | shuffle a\\|b |\n"));
}

TEST(Text, NumbersReadAsNumbersEverywhere) {
  EXPECT_EQ(number_text(10000), "10000");
  EXPECT_EQ(number_text(3e-4), "0.0003");
  EXPECT_EQ(number_text(1e-8), "1.0e-08");
  EXPECT_EQ(number_text(2.5e20), "2.5e+20");
  EXPECT_EQ(number_text(0), "0");
  EXPECT_EQ(number_text(-0.5), "-0.5");
}

TEST(Text, EditDistanceCountsSwapsAsOne) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("trian", "train"), 1);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("same", "same"), 0);
}

}  // namespace
}  // namespace switchyard
