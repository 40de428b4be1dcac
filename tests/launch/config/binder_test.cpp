#include "launch/config/binder.h"

#include <cstdio>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/config/example_config.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

absl::StatusOr<ExampleConfig> parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  ExampleConfig config;
  SY_RETURN_IF_ERROR(bind_text(schema_of(config), text, "x.yaml", overrides));
  return config;
}

std::string failure(const std::string& text, const std::vector<std::string>& overrides = {},
                    ErrorCategory category = ErrorCategory::kBadConfig) {
  const auto config = parse(text, overrides);
  if (config.ok()) return "no error";
  EXPECT_EQ(error_category(config.status()), category);
  return std::string(config.status().message());
}

TEST(Binder, ReadsEveryKindOfValue) {
  const auto config = parse(R"(
train: {steps: 12, parts: auto, shuffle: false, dir: /a b/c, tags: [x, "2"]}
optimizer:
  lr: 3e-4
  betas: [0.5, 0]
  schedule:
    kind: linear
    min_lr: 1
)");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->train.steps, 12);
  EXPECT_EQ(config->train.parts, 0);
  EXPECT_FALSE(config->train.shuffle);
  EXPECT_EQ(config->train.dir, "/a b/c");
  EXPECT_EQ(config->train.tags, (std::vector<std::string>{"x", "2"}));
  EXPECT_EQ(config->optimizer.lr, 3e-4);
  EXPECT_EQ(config->optimizer.betas, (std::vector<double>{0.5, 0}));
  EXPECT_EQ(config->optimizer.schedule.kind, "linear");
  EXPECT_EQ(config->optimizer.schedule.min_lr, 1);
  EXPECT_EQ(config->optimizer.epsilon, 1e-8);
}

TEST(Binder, EmptyTextKeepsTheDefaults) {
  for (const char* text : {"", "# nothing\n", "train:\n", "{}"}) {
    const auto config = parse(text);
    ASSERT_TRUE(config.ok()) << text << config.status();
    EXPECT_EQ(config->train.steps, 1000);
  }
}

TEST(Binder, OverridesWinAndTheLastOneOfAKeyHolds) {
  const auto config =
      parse("train: {steps: 12}", {"train.steps=5", "train.dir=C: [odd] #name", "optimizer.betas=[0.1, 0.2]",
                                   "train.parts=auto", "train.steps=6", "train.tags=[]"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->train.steps, 6);
  EXPECT_EQ(config->train.dir, "C: [odd] #name");
  EXPECT_EQ(config->train.parts, 0);
  EXPECT_EQ(config->optimizer.betas, (std::vector<double>{0.1, 0.2}));
}

TEST(Binder, UnknownKeysNameTheNearest) {
  EXPECT_EQ(failure("train:\n  step: 1\n"), "x.yaml:2: unknown key 'train.step'; did you mean 'train.steps'?");
  EXPECT_EQ(failure("trian: {steps: 1}"), "x.yaml:1: unknown key 'trian'; did you mean 'train'?");
  // The right name in the wrong section.
  EXPECT_EQ(failure("optimizer:\n  lr: 1\n  min_lr: 0\n"),
            "x.yaml:3: unknown key 'optimizer.min_lr'; did you mean 'optimizer.schedule.min_lr'?");
  EXPECT_EQ(failure("optimizer: {banana: 1}"),
            "x.yaml:1: unknown key 'optimizer.banana'; 'optimizer' takes lr, betas, epsilon, schedule");
  EXPECT_EQ(failure("", {"trian.steps=3"}),
            "override trian.steps=3: unknown key 'trian.steps'; did you mean 'train.steps'?");
  EXPECT_EQ(failure("1: 2"), "x.yaml:1: unknown key '1'; a config takes train, optimizer");
}

TEST(Binder, WrongTypesSayWhatIsExpected) {
  EXPECT_EQ(failure("train:\n  steps: ten"), "x.yaml:2: train.steps expects an integer, got 'ten'");
  EXPECT_EQ(failure("train: {steps: 1.5}"), "x.yaml:1: train.steps expects an integer, got '1.5'");
  EXPECT_EQ(failure("train: {steps: \"12\"}"), "x.yaml:1: train.steps expects an integer, got the string '12'");
  EXPECT_EQ(failure("train: {parts: 99999999999}"),
            "x.yaml:1: train.parts expects an integer or auto, got '99999999999'");
  EXPECT_EQ(failure("train: {steps: auto}"), "x.yaml:1: train.steps expects an integer, got 'auto'");
  EXPECT_EQ(failure("train: {shuffle: yes}"), "x.yaml:1: train.shuffle expects true or false, got 'yes'");
  EXPECT_EQ(failure("train: {dir: }"), "x.yaml:1: train.dir expects a string, got nothing");
  EXPECT_EQ(failure("optimizer: {lr: .nan}"), "x.yaml:1: optimizer.lr expects a number, got '.nan'");
  EXPECT_EQ(failure("optimizer: {lr: inf}"), "x.yaml:1: optimizer.lr expects a number, got 'inf'");
  EXPECT_EQ(failure("optimizer: {lr: [1]}"), "x.yaml:1: optimizer.lr expects a number, got a list");
  EXPECT_EQ(failure("optimizer: {betas: 0.9}"), "x.yaml:1: optimizer.betas expects a list of numbers, got '0.9'");
  EXPECT_EQ(failure("train: {steps: {a: 1}}"), "x.yaml:1: train.steps expects an integer, got a section");
  EXPECT_THAT(failure("train: 3"), HasSubstr("'train' is a section"));
  EXPECT_EQ(failure("", {"train.steps=ten"}), "override train.steps=ten: train.steps expects an integer, got 'ten'");
  EXPECT_THAT(failure("", {"train.steps=[1"}), HasSubstr("not valid YAML"));
  EXPECT_THAT(failure("", {"optimizer.betas=[0.1, 0.2], 3"}), HasSubstr("not one YAML document"));
  EXPECT_THAT(failure("", {"train={steps: 1}"}), HasSubstr("'train' is a section; override its keys one by one"));
}

TEST(Binder, RulesHold) {
  EXPECT_EQ(failure("train: {steps: 0}"), "x.yaml:1: train.steps is 0; it must be at least 1");
  EXPECT_EQ(failure("train: {parts: 65}"),
            "x.yaml:1: train.parts is 65; it must be at least 1 and at most 64, or auto");
  EXPECT_EQ(failure("optimizer: {lr: 0}"), "x.yaml:1: optimizer.lr is 0; it must be above 0");
  EXPECT_EQ(failure("optimizer: {betas: [0.9, 1.0]}"),
            "x.yaml:1: optimizer.betas is [0.9, 1]; it must be at least 0 and below 1");
  EXPECT_EQ(failure("optimizer: {schedule: {kind: square}}"),
            "x.yaml:1: optimizer.schedule.kind is square; it must be one of cosine, linear");
  EXPECT_TRUE(parse("train: {parts: 0}").ok());
}

TEST(Binder, SectionsValidateThemselves) {
  EXPECT_EQ(failure("\noptimizer:\n  betas: [0.9]\n"), "x.yaml:2: optimizer: betas takes two numbers");
  EXPECT_EQ(failure("", {"optimizer.betas=[0.9]"}), "x.yaml: optimizer: betas takes two numbers");
}

TEST(Binder, AllProblemsAreReportedInOrder) {
  EXPECT_EQ(failure("optimizer:\n  lr: x\ntrain:\n  steps: 0\n  stps: 1\n", {"train.dri=x"}),
            "x.yaml:2: optimizer.lr expects a number, got 'x' (and 3 more problems)\n"
            "x.yaml:4: train.steps is 0; it must be at least 1\n"
            "x.yaml:5: unknown key 'train.stps'; did you mean 'train.steps'?\n"
            "override train.dri=x: unknown key 'train.dri'; did you mean 'train.dir'?");
}

TEST(Binder, DuplicatesAreErrors) {
  EXPECT_EQ(failure("train:\n  steps: 1\n  steps: 2\n"), "x.yaml:3: 'train.steps' is given twice, first on line 2");
  EXPECT_EQ(failure("train: {steps: 1}\ntrain: {parts: 2}\n"), "x.yaml:2: 'train' is given twice, first on line 1");
}

TEST(Binder, TextThatIsNoConfig) {
  EXPECT_THAT(failure("train:\n  steps: [1\n"), StartsWith("x.yaml:3: not valid YAML: "));
  EXPECT_THAT(failure("a: b: c"), StartsWith("x.yaml:1: not valid YAML: "));
  EXPECT_THAT(failure("- 1\n- 2\n"), StartsWith("x.yaml:1: not a config"));
  EXPECT_THAT(failure("train: {}\n---\ntrain: {}\n"), HasSubstr("not one YAML document"));
  // What yaml-cpp itself would ignore.
  for (const char* text : {",train: {steps: 1}", "{train: {steps: 1}}, 3"}) {
    EXPECT_THAT(failure(text), StartsWith("x.yaml:1: not one YAML document"));
  }
  EXPECT_THAT(failure("? [1, 2]\n: 3\n"), HasSubstr("a key must be a plain word"));
  EXPECT_THAT(failure(std::string(100000, '[')), HasSubstr("not valid YAML"));
}

TEST(Binder, AnOverrideWithoutEqualsIsAUsageError) {
  EXPECT_EQ(failure("", {"train.steps"}, ErrorCategory::kUsage),
            "'train.steps' is not an override: write section.key=value");
}

TEST(Binder, FilesThatCannotBeRead) {
  for (const char* path : {"/nonexistent/x.yaml", "/"}) {
    const auto config = read_config<ExampleConfig>(path);
    ASSERT_FALSE(config.ok());
    EXPECT_EQ(error_category(config.status()), ErrorCategory::kMissingInput) << path;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(path));
  }
}

TEST(Binder, ReadsFilesAlsoEmptyOnes) {
  const std::string path = testing::TempDir() + "binder_test.yaml";
  for (const char* text : {"", "train: {steps: 1000}\n"}) {
    std::ofstream(path) << text;
    const auto config = read_config<ExampleConfig>(path, std::vector<std::string>{"train.parts=3"});
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->train.steps, 1000);
    EXPECT_EQ(config->train.parts, 3);
  }
  std::remove(path.c_str());
}

}  // namespace
}  // namespace switchyard
