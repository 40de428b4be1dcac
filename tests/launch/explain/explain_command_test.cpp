// The command itself on a small run: what it reads, what it writes and what it refuses.
#include <filesystem>
#include <memory>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "launch/data/prepare.h"
#include "tests/launch/cli/command_line.h"
#include "tests/launch/data/corpus_testing.h"
#include "tests/support/browser.h"

namespace switchyard {
namespace {

using testing::EndsWith;
using testing::Ge;
using testing::HasSubstr;

class ExplainCommand : public CommandLine {
 protected:
  // A text, and a data set made of it.
  static void SetUpTestSuite() {
    inputs_ = std::make_unique<TemporaryFolder>();
    std::ofstream(text_path()) << made_up_text(1, 60);
    PrepareOptions options;
    options.inputs = {text_path()};
    options.output = data();
    options.vocabulary_size = 300;
    ASSERT_TRUE(prepare(options).ok());
  }
  static void TearDownTestSuite() { inputs_.reset(); }
  static std::string text_path() { return (*inputs_ / "text.txt").string(); }
  static std::string data() { return (*inputs_ / "data").string(); }

  // The directory of a run of two steps.
  std::string train(const std::string& overrides) const {
    const std::string config = file("small.yaml", R"(
run: {device: cpu, threads: 1, peak_gflops: 1}
model:
  width: 16
  layers: 2
  attention: {heads: 2, kv_heads: 1, head_width: 8}
  feed_forward: {width: 24}
  moe: {first_dense: 1, experts: 4, experts_per_token: 2, expert_width: 12}
data: {sequence: 16}
train: {steps: 2, global_batch: 4, precision: fp32, validate_every: 0}
checkpoint: {every: 2}
)");
    const Outcome trained = run("train " + config + " run.dir=" + folder_ + "/run data.train=" + data() +
                                " data.tokenizer=" + data() + ".model " + overrides);
    EXPECT_EQ(trained.code, 0) << trained.err;
    return folder_ + "/run";
  }
  // Explains to `page_` and `json_`.
  Outcome explain(const std::string& checkpoint, const std::string& arguments) const {
    return run("explain " + checkpoint + " --html " + page_ + " --json " + json_ + " " + arguments);
  }

  static inline std::unique_ptr<TemporaryFolder> inputs_;
  const std::string page_ = folder_ + "/page.html", json_ = folder_ + "/page.json";
};

TEST_F(ExplainCommand, ATextByARunsNewestCheckpoint) {
  const Outcome outcome = explain(train("model.moe.router.capacity.factor=1"), "--tokens 100 --text " + text_path());
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(read(json_));
  std::string text;
  for (const auto& piece : json.at("texts")) text += piece.get<std::string>();
  EXPECT_EQ(json.at("ids").size(), 100);
  EXPECT_EQ(text, read(text_path()).substr(0, text.size()));
  EXPECT_EQ(json.at("choice").at("score"), "probability");
  const auto& layer = json.at("layers").at(0);
  ASSERT_EQ(layer.at("margins").size(), 200);
  for (const auto& margin : layer.at("margins")) EXPECT_THAT(margin.get<double>(), Ge(0));
  int64_t dropped = 0;
  for (size_t i = 0; i < 200; ++i) {
    if (layer.at("kept").at(i)) continue;
    ++dropped;
    EXPECT_EQ(layer.at("weights").at(i), 0);
  }
  EXPECT_GT(dropped, 0);
  EXPECT_THAT(outcome.out, HasSubstr(std::to_string(dropped) + " of 200 slots dropped"));
  EXPECT_THAT(outcome.out, HasSubstr("written: " + page_));
  EXPECT_THAT(read(page_), HasSubstr(json.at("choice").at("how").get<std::string>()));
}

TEST_F(ExplainCommand, ADataSetByACheckpointsFolder) {
  const std::string checkpoint = train("model.moe.router.kind=sigmoid") + "/checkpoints/step-00000002";
  const Outcome outcome = explain(checkpoint, "--tokens 40 --data " + data());
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(read(json_));
  EXPECT_THAT(json.at("checkpoint").get<std::string>(), EndsWith("step-00000002"));
  EXPECT_EQ(json.at("ids").size(), 40);
  EXPECT_EQ(json.at("choice").at("score"), "sigmoid");
  EXPECT_EQ(json.at("layers").at(0).at("offsets").back(), 80);
}

TEST_F(ExplainCommand, ADamagedCheckpointIsSkippedAloud) {
  const std::string directory = train("checkpoint.every=1");
  const std::string damaged = directory + "/checkpoints/step-00000002/boxes-00000-of-00001.safetensors";
  std::filesystem::resize_file(damaged, std::filesystem::file_size(damaged) - 1);
  const Outcome outcome = explain(directory, "--text " + text_path());
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("warning: skipped " + damaged + " has "));
  EXPECT_EQ(nlohmann::json::parse(read(json_)).at("step"), 1);
}

TEST_F(ExplainCommand, ADenseModelIsRefused) {
  const Outcome outcome = explain(train("model.moe.experts=0"), "--text " + text_path());
  EXPECT_EQ(outcome.code, 64);
  EXPECT_THAT(outcome.err, HasSubstr("no routing to explain"));
}

TEST_F(ExplainCommand, ThePageRendersInABrowser) {
  if (!has_browser()) GTEST_SKIP() << "there is no chromium on this machine";
  const Outcome outcome = explain(train("model.moe.router.kind=sigmoid"), "--tokens 30 --text " + text_path());
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  // A token is pointed at, for the detail of it.
  const std::string page = file("pointed.html", read(page_) + "<script>$('text').firstChild.onmouseenter()</script>");
  const std::string dom = rendered(page);
  EXPECT_THAT(dom, HasSubstr("30 tokens; "));
  EXPECT_THAT(dom, HasSubstr("<p id=\"how\">Each token takes the 2 experts of highest sigmoid.</p>"));
  EXPECT_THAT(dom, testing::ContainsRegex("weight 0\\.[0-9]+, probability [0-9.]+ %, sigmoid 0\\.[0-9]+, "
                                          "[-0-9.e]+ above the next expert"));
}

}  // namespace
}  // namespace switchyard
