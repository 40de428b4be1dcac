#include "launch/train/console.h"

#include <map>
#include <sstream>

#include <gtest/gtest.h>

namespace switchyard {
namespace {

StepMetrics example() {
  StepMetrics metrics;
  metrics.step = 12;
  metrics.loss = 6.12344;
  metrics.grad_norm = 0.8123;
  metrics.lr = 3e-4;
  metrics.tokens_per_second = 12345.4;
  metrics.step_seconds = 0.5124;
  metrics.memory_bytes = int64_t{3} << 29;
  metrics.mfu = 0.312;
  metrics.moe = {{"load_imbalance", 1.449}};
  return metrics;
}

// What a reader of logs does: split at blanks, then at '='.
std::map<std::string, std::string> parse(const std::string& line) {
  std::map<std::string, std::string> values;
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    EXPECT_NE(equals, std::string::npos) << word;
    values[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return values;
}

TEST(Console, TheStepLineParses) {
  const std::map<std::string, std::string> expected = {
      {"step", "12/1000"}, {"loss", "6.1234"},  {"grad_norm", "0.812"}, {"lr", "3.000e-04"},   {"tokens/s", "12345"},
      {"step_s", "0.512"}, {"mem_GiB", "1.50"}, {"mfu", "31.2%"},       {"imbalance", "1.45"}, {"eta", "1:02:03"}};
  EXPECT_EQ(parse(step_line(example(), 1000, 3723)), expected);

  StepMetrics other = example();
  other.mfu = 0;
  other.moe.clear();
  other.skipped = true;
  other.validation_loss = 5.5;
  const auto values = parse(step_line(other, 1000, -1));
  EXPECT_EQ(values.count("mfu") + values.count("imbalance") + values.count("eta"), 0u);
  EXPECT_EQ(values.at("skipped"), "1");
  EXPECT_EQ(values.at("validation_loss"), "5.5000");
}

TEST(Console, TimeLeftCountsFromTheResumedStep) {
  std::ostringstream out;
  Console console(out, /*terminal=*/false, /*first_step=*/10, /*steps=*/20);
  console.step(example(), 4.0);  // two steps in 4 s, 8 to go
  EXPECT_EQ(parse(out.str()).at("eta"), "0:00:16");
}

TEST(Console, ProgressIsForTerminalsAndIsClearedBeforeALine) {
  std::ostringstream file;
  Console plain(file, /*terminal=*/false, 0, 100);
  plain.progress(51);
  plain.line("text");
  EXPECT_EQ(file.str(), "text\n");

  std::ostringstream screen;
  Console terminal(screen, /*terminal=*/true, 0, 100);
  terminal.progress(51);
  terminal.line("text");
  terminal.line("more");
  const std::string bar = "\r\x1b[K[###############...............] step 51/100";
  EXPECT_EQ(screen.str(), bar + "\r\x1b[Ktext\nmore\n");
}

}  // namespace
}  // namespace switchyard
