// The program itself: what it prints and its exit codes.
#include "tests/launch/cli/command_line.h"

#include <map>
#include <set>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "launch/cli/command.h"
#include "launch/config/document.h"
#include "launch/config/run_config.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST_F(CommandLine, HelpIsForAPerson) {
  const Outcome help = run("--help");
  EXPECT_EQ(help.code, 0);
  for (const char* text : {"train", "evaluate", "prepare", "config", "Exit codes:", "mpirun -n 2 switchyard train"}) {
    EXPECT_THAT(help.out, HasSubstr(text));
  }
  for (const std::string command : {"train", "evaluate", "prepare", "config", "checkpoint"}) {
    const Outcome own = run(command + " --help");
    EXPECT_EQ(own.code, 0);
    EXPECT_THAT(own.out, HasSubstr("Examples:"));
    EXPECT_THAT(own.out, HasSubstr("switchyard " + command));
  }
}

TEST_F(CommandLine, Version) {
  const Outcome version = run("--version");
  EXPECT_EQ(version.code, 0);
  EXPECT_THAT(version.out, StartsWith("switchyard 0."));
}

TEST_F(CommandLine, WrongUsageIs64) {
  for (const char* arguments :
       {"", "trian x.yaml", "train", "train x.yaml --dry", "config", "prepare --input x",
        "prepare --input x --output y --format pdf", "prepare --input x --output y --tokenizer a --vocab-size 9",
        "checkpoint", "checkpoint verify", "checkpoint reshard x --output y --files 0",
        "checkpoint merge x --output y --memory lots", "checkpoint extract x --output y"}) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 64) << arguments << "\n" << outcome.err;
    EXPECT_THAT(outcome.err, StartsWith("switchyard: error: "));
    EXPECT_THAT(outcome.err, HasSubstr(" --help."));
    EXPECT_EQ(outcome.out, "");
  }
  EXPECT_EQ(run("config " + file("x.yaml", "") + " train.steps").code, 64);
}

TEST_F(CommandLine, ConfigPrintsEveryKeyAndReadsItsOwnOutput) {
  const std::string path = file("x.yaml", "data: {train: random}\n");
  const Outcome first = run("config " + path + " train.steps=7 'optimizer.betas=[0.8, 0.9]'");
  ASSERT_EQ(first.code, 0) << first.err;
  RunConfig expected;
  expected.data.train = "random";
  expected.train.steps = 7;
  expected.optimizer.betas = {0.8, 0.9};
  EXPECT_EQ(first.out, dump_yaml(expected));
  EXPECT_EQ(run("config " + file("y.yaml", first.out)).out, first.out);
}

TEST_F(CommandLine, ConfigPrintsTheShippedOnes) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(SWITCHYARD_SOURCE "/configs")) {
    if (entry.is_directory()) continue;
    const Outcome printed = run("config " + entry.path().string());
    EXPECT_EQ(printed.code, 0) << printed.err;
    EXPECT_THAT(printed.out, HasSubstr("experts_per_token: "));
  }
}

TEST_F(CommandLine, ReferenceNamesEveryKey) {
  const Outcome reference = run("config --reference");
  EXPECT_EQ(reference.code, 0);
  RunConfig config;
  const Schema schema = schema_of(config);
  for (const Field& field : schema.fields) EXPECT_THAT(reference.out, HasSubstr("`" + field.path + "`"));
}

TEST_F(CommandLine, BadConfigsAre78AndMissingOnes66) {
  const Outcome unknown = run("config " + file("x.yaml", "train: {step: 3}\n"));
  EXPECT_EQ(unknown.code, 78);
  EXPECT_THAT(unknown.err, StartsWith("switchyard: error: " + folder_ +
                                      "/x.yaml:1: unknown key 'train.step'; did you mean 'train.steps'?"));
  EXPECT_EQ(run("config " + file("y.yaml", "train: [")).code, 78);
  const Outcome missing = run("config " + folder_ + "/none.yaml");
  EXPECT_EQ(missing.code, 66);
  EXPECT_THAT(missing.err, HasSubstr("none.yaml"));
  EXPECT_EQ(run("evaluate " + folder_).code, 66);
  EXPECT_EQ(run("prepare --input " + folder_ + "/none --output " + folder_ + "/data").code, 66);
}

TEST_F(CommandLine, EvaluatingADirectoryIsAboutItsNewestCheckpointWhereverItsRunBegan) {
  file("config.yaml",
       "{data: {train: random, validation: random, sequence: 8}, checkpoint: {resume: /began/here},\n"
       " model: {width: 8, layers: 1, vocabulary: 32, attention: {heads: 2, kv_heads: 1, head_width: 4}}}\n");
  const Outcome newest = run("evaluate " + folder_);
  EXPECT_EQ(newest.code, 66);
  EXPECT_THAT(newest.err, HasSubstr("no checkpoint in " + folder_ + "/checkpoints"));
  const Outcome named = run("evaluate " + folder_ + " checkpoint.resume=/that/one");
  EXPECT_EQ(named.code, 66);
  EXPECT_THAT(named.err, HasSubstr("/that/one is not a checkpoint"));
}

TEST_F(CommandLine, TheCommandToGoOnStartsFromTheNewestCheckpoint) {
  EXPECT_EQ(command_to_go_on("x.yaml", {"train.steps=7"}, "auto"), "switchyard train x.yaml 'train.steps=7'");
  EXPECT_EQ(command_to_go_on("x.yaml", {}, "never"), "switchyard train x.yaml checkpoint.resume=auto");
  EXPECT_EQ(command_to_go_on("x.yaml", {"checkpoint.resume=a/step-00000010"}, "a/step-00000010"),
            "switchyard train x.yaml 'checkpoint.resume=a/step-00000010' checkpoint.resume=auto");
}

TEST_F(CommandLine, CheckpointToolsWithAndWithoutMpirun) {
  const std::string golden = SWITCHYARD_SOURCE "/tests/golden/checkpoint/v1/step-00000004";
  const std::string copy = folder_ + "/copy";
  std::filesystem::copy(golden, copy);
  for (const int ranks : {0, 2}) {
    const auto tool = [&](const std::string& arguments) {
      return ranks == 0 ? run("checkpoint " + arguments) : run_ranks(ranks, "checkpoint " + arguments);
    };
    const Outcome verified = tool("verify " + copy);
    EXPECT_EQ(verified.code, 0) << verified.err;
    EXPECT_THAT(verified.out, HasSubstr("match their checksums"));
    const std::string output = folder_ + "/new" + std::to_string(ranks);
    const Outcome resharded = tool("reshard " + golden + " --files 3 --memory 4KiB --output " + output);
    EXPECT_EQ(resharded.code, 0) << resharded.err;
    EXPECT_THAT(tool("diff " + golden + " " + output + " --tolerance 0").out, HasSubstr("\n"));
    EXPECT_EQ(tool("extract " + output + " 'layers.1.*' --output " + output + "/some.safetensors").code, 0);
    EXPECT_EQ(tool("merge " + output + " --output " + output + "/some.safetensors").code, 64);  // exists
    EXPECT_EQ(tool("show " + output + " --match nothing").code, 66);
    EXPECT_EQ(tool("list " + folder_ + "/none").code, 66);
  }
  std::filesystem::resize_file(copy + "/boxes-00000-of-00002.safetensors", 1000);
  const Outcome damaged = run("checkpoint verify " + copy);
  EXPECT_EQ(damaged.code, 65);
  EXPECT_THAT(damaged.err, HasSubstr("boxes-00000-of-00002.safetensors has 1000 bytes"));
}

TEST_F(CommandLine, ADryRunCreatesNothing) {
  const std::string config =
      file("x.yaml",
           "{run: {dir: " + folder_ +
               "/run, peak_gflops: 1}, data: {train: random, sequence: 8},\n"
               " model: {width: 8, layers: 1, vocabulary: 32, attention: {heads: 2, kv_heads: 1, head_width: 4}}}\n");
  const Outcome outcome = run("train --dry-run " + config);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("checkpoint copies"));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/run"));
}

TEST_F(CommandLine, ATraceHasTheChosenStepsOfAllRanks) {
  const std::string config =
      file("x.yaml", "{run: {dir: " + folder_ +
                         "/run, peak_gflops: 1}, data: {train: random, sequence: 8}, train: {steps: 4},\n"
                         " parallel: {expert: 2}, model: {width: 8, layers: 1, vocabulary: 32,\n"
                         " attention: {heads: 2, kv_heads: 1, head_width: 4},\n"
                         " moe: {experts: 4, experts_per_token: 2, expert_width: 8}}}\n");
  const std::string path = folder_ + "/steps.json";
  const Outcome outcome = run_ranks(2, "train " + config + " --trace " + path + " --trace-steps 2-3");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("trace of steps 2 to 3 in " + path));
  std::map<int, std::multiset<std::string>> names;  // by rank
  const auto trace = nlohmann::json::parse(read(path));
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") == "X") names[event.at("pid")].insert(event.at("name"));
  }
  ASSERT_EQ(names.size(), 2U);
  for (const auto& [rank, of_rank] : names) {
    for (const char* name : {"step 2", "step 3"}) EXPECT_EQ(of_rank.count(name), 1U) << name << " of rank " << rank;
    for (const char* name : {"forward", "backward", "optimizer"}) EXPECT_EQ(of_rank.count(name), 2U) << name;
    EXPECT_EQ(of_rank.count("step 1") + of_rank.count("step 4"), 0U);
    EXPECT_GE(of_rank.count("experts"), 2U);
  }
  const Outcome nowhere = run_ranks(2, "train " + config + " --trace " + folder_ + "/none/steps.json");
  EXPECT_NE(nowhere.code, 0);
  EXPECT_THAT(nowhere.err, HasSubstr("cannot write a trace to"));
}

TEST_F(CommandLine, RanksThatFailAlikeSpeakOnce) {
  const Outcome outcome = run_ranks(2, "train " + file("x.yaml", "train: {step: 3}\n"));
  EXPECT_EQ(outcome.code, 78);
  EXPECT_EQ(errors_in(outcome.err), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("did you mean 'train.steps'?"));
}

TEST_F(CommandLine, ARankThatCannotAllocateEndsTheJobAndSaysWhich) {
  const Outcome outcome = run_ranks(3, "memory", FAILING_RANK);
  EXPECT_EQ(outcome.code, 71);
  EXPECT_EQ(errors_in(outcome.err), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("switchyard: error: rank 1 of 3 on "));
  EXPECT_THAT(outcome.err, HasSubstr(": out of memory: set train.recompute=activation"));
}

TEST_F(CommandLine, RanksThatFailWithoutAgreeingSpeakOnceToo) {
  const Outcome outcome = run_ranks(3, "alike", FAILING_RANK);
  EXPECT_EQ(outcome.code, 65);
  EXPECT_EQ(errors_in(outcome.err), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("switchyard: error: rank 0 of 3 on "));
}

TEST_F(CommandLine, VerifyHoldsALayoutToOneRank) {
  const Outcome outcome = run_ranks(2, "verify " SWITCHYARD_SOURCE "/configs/bench_63m.yaml --shrink");
  EXPECT_EQ(outcome.code, 0) << outcome.err << outcome.out;
  EXPECT_THAT(outcome.out, HasSubstr("layout      data 2 x tensor 1; experts: expert_data 1 x expert 2"));
  EXPECT_THAT(outcome.out, HasSubstr("reference   one rank, plain operations in fp64"));
  EXPECT_THAT(outcome.out, HasSubstr("model.width 512 → 32"));
  EXPECT_THAT(outcome.out, HasSubstr("verified: "));
}

TEST_F(CommandLine, VerifyWritesJsonAlone) {
  const Outcome outcome = run_ranks(4, "verify " SWITCHYARD_SOURCE
                                       "/configs/bench_63m.yaml --shrink --json --steps 1 train.precision=fp64 "
                                       "parallel.tensor=2 parallel.expert=2 parallel.expert_tensor=2");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << outcome.out;
  EXPECT_EQ(json["pass"], true);
  EXPECT_GT(json["rows"].size(), 100u);
  EXPECT_EQ(json["layout"]["expert_tensor"], 2);
  EXPECT_EQ(json["precision"], "fp64");
  EXPECT_EQ(json["tokens"], "random tokens in random documents");
  EXPECT_THAT(std::string(json["shrunk"]), HasSubstr("model.width 512 → 32"));
  EXPECT_EQ(json["planted"], "");
  EXPECT_THAT(outcome.err, HasSubstr("step 1/1"));
}

TEST_F(CommandLine, VerifyRefusesWhatItWouldPassOver) {
  const std::string verify = "verify " SWITCHYARD_SOURCE "/configs/bench_63m.yaml --shrink ";
  const Outcome device = run_ranks(2, verify + "run.device=cuda");
  EXPECT_EQ(device.code, 64) << device.err;
  EXPECT_THAT(device.err, HasSubstr("run.device=cpu"));
  const std::string text =
      file("x.yaml", "data: {tokenizer: none.model, train: no/such/data}\nmodel: {vocabulary: 64}\n");
  const Outcome data = run_ranks(2, "verify " + text + " --shrink");
  EXPECT_EQ(data.code, 66) << data.err;
  EXPECT_EQ(errors_in(data.err), 1);
}

TEST_F(CommandLine, VerifyFindsAPlantedBugAndSaysWhereToLook) {
  const std::string verify = "verify " SWITCHYARD_SOURCE "/configs/bench_63m.yaml --shrink --inject ";
  const Outcome found = run_ranks(2, verify + "double_divisor");
  EXPECT_EQ(found.code, 70) << found.err;
  EXPECT_THAT(found.out, HasSubstr("first to differ: loss"));
  EXPECT_THAT(found.out, HasSubstr("divisor"));
  EXPECT_THAT(found.err, HasSubstr("the layout does not compute what its reference does"));
  EXPECT_EQ(errors_in(found.err), 1);
  const Outcome refused = run_ranks(2, verify + "skip_tensor_sum");
  EXPECT_EQ(refused.code, 64);
  EXPECT_THAT(refused.err, HasSubstr("needs parallel.tensor above 1"));
  const Outcome idle = run_ranks(2, verify + "reorder_rows data.sequence=1 train.global_batch=1");
  EXPECT_EQ(idle.code, 64) << idle.out;
  EXPECT_THAT(idle.err, HasSubstr("--inject reorder_rows changed nothing"));
  const Outcome list = run("verify --inject list");
  EXPECT_EQ(list.code, 0);
  EXPECT_THAT(list.out, HasSubstr("stale_norm "));
}

}  // namespace
}  // namespace switchyard
