#include "launch/scale/scale.h"

#include <iostream>
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "launch/cli/command.h"
#include "launch/train/console.h"
#include "launch/train/signals.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

constexpr char kAbout[] =
    "Trains a config for some steps on several numbers of ranks, checks that the losses agree, and shows what more "
    "ranks "
    "bring: speed, where a step's time is, what is sent, memory and balance.";

constexpr char kExamples[] = R"(Examples:
  switchyard scale configs/bench_63m.yaml --ranks 1,2,4 --axis expert --mode strong
  switchyard scale configs/x.yaml --ranks 8,16,32 --axis data --mode weak --repeat 3 --hostfile hosts
  switchyard scale configs/x.yaml model.layers=2 --ranks 1,2,4 --axis tensor --steps 40

It starts each run by mpirun on this host or on those of --hostfile, and by srun within a Slurm allocation (in a batch
script as launch/slurm/train.sbatch, or after salloc); it is itself started once, without mpirun. What is measured goes
to a folder beside run.dir: scale.html to look at, scale.json, scale.txt, and every run with its log. The same command
goes on where it was stopped; runs that are done are done again only where config, program or launch changed.

Ranks get equal threads in all runs: run.threads, or the cores of a host over the ranks that share it. Strong: all
runs train on the same batches, and their losses must agree. Weak: train.global_batch is a rank's, and a run of one
step on the fewest ranks checks the first loss of each.

Exit code 70: losses do not agree; that of the job where one fails; 75: stopped by a signal.)";

absl::Status run(const ScaleOptions& options) {
  const StopSignals signals;
  return scale(options, std::cout, output_is_terminal(), [&signals] { return signals.received() != 0; });
}

}  // namespace

void add_scale(CLI::App& app, Command& command) {
  CLI::App* scale_app = app.add_subcommand("scale", kAbout);
  const auto options = std::make_shared<ScaleOptions>();
  scale_app->add_option("CONFIG", options->config, "The config, a YAML file")->required();
  scale_app->add_option("OVERRIDES", options->overrides, "Keys to change in all runs, as section.key=value");
  scale_app->add_option("--ranks", options->ranks, "Numbers of ranks, such as 1,2,4,8")
      ->required()
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::PositiveNumber);
  scale_app
      ->add_option("--axis", options->axis,
                   "What grows with the ranks: expert (experts are spread over all of them), data (all else stays as "
                   "the config says) or tensor (all share each layer and each expert)")
      ->check(CLI::IsMember({"expert", "data", "tensor"}))
      ->capture_default_str();
  scale_app
      ->add_option("--mode", options->mode,
                   "strong: the same train.global_batch in all runs; weak: as many times that as there are ranks")
      ->check(CLI::IsMember({"strong", "weak"}))
      ->capture_default_str();
  scale_app->add_option("--repeat", options->repeat, "Runs of each number of ranks; medians are shown")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  scale_app->add_option("--steps", options->steps, "Steps of each run, the first 3 of them to warm up")
      ->check(CLI::Range(int64_t{4}, int64_t{1} << 40))
      ->capture_default_str();
  scale_app->add_option("--hostfile", options->hostfile, "Open MPI's hostfile, see launch/hostfile.example");
  scale_app->add_option("--output", options->output, "Folder to write to; default: <run.dir>-scale-<axis>-<mode>");
  scale_app->footer(kExamples);
  scale_app->callback([&command, options] { command.local = [options] { return run(*options); }; });
}

}  // namespace switchyard
