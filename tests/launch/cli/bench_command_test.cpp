// switchyard bench, from the command line to the table.
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/launch/cli/command_line.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

constexpr char kSmallConfig[] =
    "{run: {device: cpu}, data: {train: random, sequence: 8}, train: {global_batch: 4, precision: fp32},\n"
    " model: {width: 16, layers: 1, vocabulary: 32, attention: {heads: 2, kv_heads: 1, head_width: 8},\n"
    "         moe: {experts: 4, experts_per_token: 2, expert_width: 16}}, parallel: {expert: 2}}\n";

TEST_F(CommandLine, BenchHelpIsForAPerson) {
  for (const std::string command : {"bench layer", "bench all-to-all", "bench step"}) {
    const Outcome help = run(command + " --help");
    EXPECT_EQ(help.code, 0);
    EXPECT_THAT(help.out, HasSubstr("Examples:"));
    EXPECT_THAT(help.out, HasSubstr("switchyard " + command));
  }
}

TEST_F(CommandLine, BenchAllToAllComparesWithItsOwnJson) {
  const std::string bench = "bench all-to-all --tokens 64 --experts-per-token 8 --repeats 1 ";
  const Outcome json = run_ranks(2, bench + "--json");
  ASSERT_EQ(json.code, 0) << json.err;
  const auto parsed = nlohmann::json::parse(json.out, nullptr, false);
  ASSERT_FALSE(parsed.is_discarded()) << json.out;
  // All 8 experts of a token, four of them elsewhere, in rows of 512 numbers of two bytes.
  EXPECT_EQ(parsed["sizes"].back()["max_bytes"], 64 * 4 * 512 * 2);
  EXPECT_EQ(parsed["sizes"].back()["bytes"]["same_node"], 64 * 4 * 512 * 2);
  EXPECT_EQ(parsed["cpus"].size(), 2u);

  const std::string path = file("before.json", json.out);
  const Outcome table = run_ranks(2, bench + "--baseline " + path);
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_THAT(table.out, HasSubstr("those of 64 tokens a rank, whole and in chunks; 8 of 8 experts a token"));
  EXPECT_THAT(table.out, HasSubstr("x: times as fast as the baseline"));
  const Outcome other = run_ranks(2, bench + "--width 8 --baseline " + path);
  EXPECT_EQ(other.code, 64);
  EXPECT_THAT(other.err, HasSubstr("is of something else: width 512 instead of 8"));
  EXPECT_EQ(errors_in(other.err), 1);
}

TEST_F(CommandLine, BenchAllToAllTimesADispatcher) {
  const Outcome json =
      run_ranks(2, "bench all-to-all --tokens 64 --experts-per-token 8 --repeats 1 --dispatcher deduplicated --json");
  ASSERT_EQ(json.code, 0) << json.err;
  const auto parsed = nlohmann::json::parse(json.out, nullptr, false);
  ASSERT_FALSE(parsed.is_discarded()) << json.out;
  EXPECT_EQ(parsed["all-to-all"]["dispatcher"], "deduplicated");
  // A row for each token, out and back, of 512 numbers of two bytes, and what goes with it for four experts.
  const int64_t rows = 2 * 64 * 512 * 2, sent = parsed["sizes"].back()["bytes"]["same_node"];
  EXPECT_GE(sent, rows);
  EXPECT_LT(sent, rows + rows / 10);
  EXPECT_EQ(parsed["by_messages"], "");
  EXPECT_GT(parsed["memory_bytes"], 0);
}

TEST_F(CommandLine, BenchLayerSettlesWhatIsLeftToAuto) {
  const std::string bench =
      "bench layer --tokens 32 --width 16 --expert-width 16 --repeats 1 --dispatcher auto --chunks auto ";
  const Outcome json = run_ranks(2, bench + "--json");
  ASSERT_EQ(json.code, 0) << json.err;
  const auto parsed = nlohmann::json::parse(json.out, nullptr, false);
  ASSERT_FALSE(parsed.is_discarded()) << json.out;
  EXPECT_EQ(parsed["layer"]["dispatcher"], "auto");
  EXPECT_EQ(parsed["layer"]["chunks"], "auto");
  EXPECT_NE(parsed["dispatcher"], "auto");
  EXPECT_GE(parsed["chunks"], 1);
  const Outcome table = run_ranks(2, bench + "--baseline " + file("before.json", json.out));
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_THAT(table.out, HasSubstr(", as auto settled it; 32 tokens a rank"));
  EXPECT_THAT(table.out, HasSubstr("x: times as fast as the baseline"));
}

TEST_F(CommandLine, BenchStepWritesNothingButItsResult) {
  const std::string bench = "bench step " + file("x.yaml", kSmallConfig) + " run.dir=" + folder_ + "/run --repeats 2 ";
  const Outcome json = run_ranks(2, bench + "--json");
  ASSERT_EQ(json.code, 0) << json.err;
  const auto parsed = nlohmann::json::parse(json.out, nullptr, false);
  ASSERT_FALSE(parsed.is_discarded()) << json.out;
  EXPECT_EQ(parsed["data"], "random tokens");
  EXPECT_EQ(parsed["layout"]["expert"], 2);
  const Outcome table = run_ranks(2, bench + "parallel.expert=1 --baseline " + file("before.json", json.out));
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_THAT(table.out, HasSubstr("of random tokens; medians of 2 steps after 2"));
  EXPECT_THAT(table.out, HasSubstr("x: times as fast as the baseline"));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/run"));
}

TEST_F(CommandLine, BenchRefusesWhatItCannotMeasure) {
  const auto refused = [this](const std::string& arguments, int code, const std::string& says) {
    const Outcome outcome = run("bench " + arguments);
    EXPECT_EQ(outcome.code, code) << arguments;
    EXPECT_THAT(outcome.err, HasSubstr(says));
    EXPECT_EQ(errors_in(outcome.err), 1);
  };
  refused("all-to-all --tokens 8 --skew flat", 64, "give zipf:EXPONENT");
  refused("all-to-all --skew zipf:1.2", 64, "--tokens");
  refused("all-to-all --tokens 8 --experts 2 --experts-per-token 3", 78, "more than the 2 of --experts");
  refused("all-to-all --dispatcher all_to_all", 64, "--tokens");
  refused("all-to-all --tokens 8 --dispatcher auto", 64, "--dispatcher");
  refused("all-to-all --tokens 8 --shared-memory false", 64, "--dispatcher");
  refused("layer --chunks few", 64, "--chunks");
  refused("layer --dispatcher fastest", 64, "--dispatcher");
  refused("all-to-all --baseline none.json", 66, "none.json");
  refused("step " + folder_ + "/none.yaml", 66, "none.yaml");
  const std::string config = file("x.yaml", kSmallConfig);
  refused("step " + config + " data.train=no/such data.tokenizer=none.model", 66, "there is no none.model");
  refused("layer --device gpu", 64, "--device");
  refused("step " + config + " model.attention.head=2", 78, "did you mean 'model.attention.heads'?");
}

}  // namespace
}  // namespace switchyard
