#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <absl/strings/str_cat.h>

#include "launch/bench/step_bench.h"
#include "launch/bench/step_report.h"
#include "launch/cli/bench.h"
#include "launch/config/binder.h"
#include "launch/config/document.h"
#include "launch/data/data_config.h"
#include "launch/train/job.h"

namespace switchyard {
namespace {

constexpr char kAbout[] =
    "Training steps of a config, from initial weights: their time, tokens/s and model FLOPs utilisation "
    "beside the time of their matrix products alone and the best of one large product, where the rest goes, and what "
    "travels. Nothing is written: no run directory, no checkpoint.";

constexpr char kExamples[] = R"(Examples:
  mpirun -n 2 switchyard bench step configs/bench_63m.yaml
  mpirun -n 4 switchyard bench step configs/x.yaml data.train=random parallel.tensor=2
  mpirun -n 2 switchyard bench step configs/x.yaml --json > before.json
  mpirun -n 2 switchyard bench step configs/x.yaml train.recompute=layer --baseline before.json

A baseline is of the same model, batch and precision on as many ranks and threads;
the layout, accumulation and what else a step may be done with are what it is for.)";

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  int64_t repeats = StepBenchOptions().repeats;
  BenchArguments bench;
};

// Other tokens choose other experts: random ones only for who asks for them.
absl::Status check_data(const DataConfig& data) {
  std::vector<std::string> files;
  if (!data.tokenizer.empty()) files.push_back(data.tokenizer);
  if (data.train != kRandomTokens) files.push_back(data.train + ".idx");
  for (const std::string& file : files) {
    std::error_code code;
    if (std::filesystem::exists(file, code)) continue;
    return error(ErrorCategory::kMissingInput,
                 absl::StrCat("there is no ", file,
                              "; prepare the data, or measure with random tokens by data.train=random data.tokenizer= "
                              "and, where the config leaves it to the tokenizer, model.vocabulary=N"));
  }
  return absl::OkStatus();
}

absl::StatusOr<StepBenchOptions> read_options(const Arguments& arguments) {
  StepBenchOptions options{.repeats = arguments.repeats};
  SY_ASSIGN_OR_RETURN(options.config, read_config<RunConfig>(arguments.config, arguments.overrides));
  options.config.data.validation.clear();  // nothing validates
  SY_RETURN_IF_ERROR(check_data(options.config.data));
  SY_ASSIGN_OR_RETURN(options.vocabulary, resolve_vocabulary(options.config));
  return options;
}

absl::Status run(const Arguments& arguments, MpiSession& session) {
  Communicator& world = session.world();
  SY_ASSIGN_OR_RETURN(const StepBenchOptions options, agree(world, read_options(arguments)));
  session.set_timeout(absl::Seconds(options.config.communication.timeout));
  BenchArguments bench = arguments.bench;
  if (bench.threads == 0) bench.threads = options.config.run.threads;
  bench.device = options.config.run.device;
  SY_ASSIGN_OR_RETURN(const StartedBench started, start_bench(bench, options.config, world));
  const BenchPlace& place = started.place;
  SY_ASSIGN_OR_RETURN(const auto baseline, read_on_rank_0<StepBench>(bench, world, [&] {
                        return read_step_baseline(bench.baseline, options, place);
                      }));
  const std::shared_ptr<Recorder> recorder = listening_recorder(session, "");
  SY_ASSIGN_OR_RETURN(const StepBench result,
                      bench_step(options, *recorder, started.site(world), bench_progress(bench, world)));
  if (world.rank() != 0) return absl::OkStatus();
  std::cout << (bench.json ? step_json(options, result, place) + "\n" : step_table(options, result, place, baseline))
            << std::flush;
  return absl::OkStatus();
}

}  // namespace

void add_bench_step(CLI::App& bench, Command& command) {
  CLI::App* step = bench.add_subcommand("step", kAbout);
  const auto arguments = std::make_shared<Arguments>();
  step->add_option("CONFIG", arguments->config, "The config, a YAML file")->required();
  step->add_option("OVERRIDES", arguments->overrides, "Keys to change, as section.key=value");
  add_size(*step, "--repeats", arguments->repeats, "Steps that are measured; medians are shown");
  add_bench_arguments(*step, arguments->bench);
  step->footer(kExamples);
  step->callback([&command, arguments] {
    command.distributed = [arguments](MpiSession& session) { return run(*arguments, session); };
  });
}

}  // namespace switchyard
