#include "launch/train/metrics.h"

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include "launch/train/moe_metrics.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

StepMetrics example(int64_t step) {
  StepMetrics metrics;
  metrics.step = step;
  metrics.loss = 0.1 + static_cast<double>(step);
  metrics.grad_norm = 1.5;
  metrics.lr = 3e-4;
  metrics.tokens = step * 512;
  metrics.tokens_per_second = 1000;
  metrics.step_seconds = 0.512;
  metrics.memory_bytes = int64_t{1} << 33;
  metrics.moe = {{"aux_loss", 0.5}, {"load_imbalance", 1.25}, {"z_loss", 0.25}};
  return metrics;
}

TEST(Metrics, LoadFiguresAreMultiplesOfTheMean) {
  const std::map<std::string, double> load = load_figures({30, 0, 10, 0});
  EXPECT_DOUBLE_EQ(load.at("load_min"), 0);
  EXPECT_DOUBLE_EQ(load.at("load_max"), 3);
  EXPECT_DOUBLE_EQ(load.at("load_p50"), 0.5);
  EXPECT_NEAR(load.at("load_p95"), 2.7, 1e-12);
  EXPECT_DOUBLE_EQ(load.at("load_cv"), std::sqrt(1.5));
  EXPECT_TRUE(load_figures({0, 0}).empty());
}

class MetricsFileTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove(path_); }
  void TearDown() override { std::filesystem::remove(path_); }

  void write(int64_t resumed, int64_t from, int64_t to) {
    auto file = MetricsFile::open(path_, resumed);
    ASSERT_TRUE(file.ok()) << file.status();
    for (int64_t step = from; step <= to; ++step) ASSERT_TRUE(file->append(example(step)).ok());
  }
  std::string content() const {
    std::ostringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }
  std::vector<int64_t> steps() const {
    std::ifstream file(path_);
    std::vector<int64_t> found;
    for (std::string line; std::getline(file, line);) found.push_back(nlohmann::json::parse(line)["step"]);
    return found;
  }

  const std::string path_ = testing::TempDir() + "metrics_test.jsonl";
};

TEST(Metrics, AStepIsOneObjectWithTheDocumentedKeys) {
  const std::string line = to_json(example(3));
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto record = nlohmann::json::parse(line);
  const auto expected = nlohmann::json::parse(R"({"step": 3, "loss": 3.1, "grad_norm": 1.5, "lr": 3e-4, "tokens": 1536,
      "tokens_per_second": 1000.0, "step_seconds": 0.512, "memory_bytes": 8589934592,
      "moe": {"aux_loss": 0.5, "z_loss": 0.25, "load_imbalance": 1.25}})");
  EXPECT_EQ(record, expected);

  StepMetrics more = example(4);
  more.validation_loss = 2.5;
  more.skipped = true;
  more.mfu = 0.4;
  more.moe_layers = {{3, {{"entropy", 1.5}}}};
  more.validation_moe_layers = {{3, {{"entropy", 1.25}}}};
  more.expert_use[3] = {
      .coactivation = 1.0 / 3, .pairs = {{0, 2, 2.0 / 3}}, .sources = {{"de", {0.5, 0.25}}, {"fr", {0.5, 0.75}}}};
  more.profile = {
      .seconds = {{"experts", 1.5}, {"dispatch", 0}, {"dense", 0}, {"optimizer", 0}, {"wait", 0.5}, {"other", 0}},
      .node_bytes = 10,
      .remote_bytes = 20};
  more.loss = std::nan("");
  const auto full = nlohmann::json::parse(to_json(more));
  EXPECT_EQ(full["validation_loss"], 2.5);
  EXPECT_EQ(full["skipped"], true);
  EXPECT_EQ(full["mfu"], 0.4);
  EXPECT_EQ(full["moe"]["layers"], nlohmann::json::parse(R"([{"layer": 3, "entropy": 1.5}])"));
  EXPECT_EQ(full["validation_moe"]["layers"],
            nlohmann::json::parse(R"([{"layer": 3, "entropy": 1.25, "coactivation": 0.3333, "pairs": [[0, 2, 0.6667]],
                                      "sources": {"de": [0.5, 0.25], "fr": [0.5, 0.75]}}])"));
  EXPECT_EQ(full["seconds"]["experts"], 1.5);
  EXPECT_EQ(full["seconds"]["wait"], 0.5);
  EXPECT_EQ(full["sent"], nlohmann::json::parse(R"({"node_bytes": 10, "remote_bytes": 20})"));
  EXPECT_TRUE(full["loss"].is_null());
}

TEST_F(MetricsFileTest, ResumingDropsLaterSteps) {
  write(0, 1, 10);
  const std::string before = content();
  write(6, 7, 8);
  EXPECT_EQ(steps(), (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(content(), before.substr(0, content().size()));
}

TEST_F(MetricsFileTest, ATornLastLineIsDropped) {
  write(0, 1, 3);
  std::ofstream(path_, std::ios::app) << "{\"step\": 4, \"lo";
  write(5, 6, 6);
  EXPECT_EQ(steps(), (std::vector<int64_t>{1, 2, 3, 6}));
}

TEST_F(MetricsFileTest, WhatAPowerCutLeftBehindTheLastCheckpointIsDropped) {
  write(0, 1, 3);
  std::ofstream(path_, std::ios::app) << std::string(40, '\0') << "\n{\"step\": 5}\n";
  write(3, 4, 4);
  EXPECT_EQ(steps(), (std::vector<int64_t>{1, 2, 3, 4}));
}

TEST_F(MetricsFileTest, StartingAfreshDropsEverything) {
  write(0, 1, 3);
  write(0, 1, 1);
  EXPECT_EQ(steps(), (std::vector<int64_t>{1}));
}

TEST_F(MetricsFileTest, OtherContentIsNotTouched) {
  std::ofstream(path_) << "{\"step\": 1}\nnotes\n";
  const auto file = MetricsFile::open(path_, 5);
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(error_category(file.status()), ErrorCategory::kBadData);
  EXPECT_THAT(std::string(file.status().message()), testing::HasSubstr(path_ + ":2: not a record"));
  EXPECT_EQ(content(), "{\"step\": 1}\nnotes\n");
}

TEST_F(MetricsFileTest, ARecordThatDoesNotFitIsAnError) {
  auto file = MetricsFile::open(path_, 0);
  ASSERT_TRUE(file.ok()) << file.status();
  // A limit on the size of files stands for a full disk.
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limit = {100, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status status = file->append(example(1));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(error_category(status), ErrorCategory::kIo);
  // What was torn does not hinder the next run.
  write(1, 2, 2);
  EXPECT_EQ(steps(), (std::vector<int64_t>{2}));
}

}  // namespace
}  // namespace switchyard
