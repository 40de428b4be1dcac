#include <iostream>
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "launch/bench/all_to_all_bench.h"
#include "launch/bench/all_to_all_report.h"
#include "launch/cli/bench.h"

namespace switchyard {
namespace {

constexpr char kAbout[] =
    "The exchange of rows that carries tokens to experts, alone: its time and bandwidth over sizes beside a memcpy of "
    "such rows on the same cores, and what it comes to as a latency and a time for each byte. Without --tokens, "
    "as many rows to each other rank, from one row on to 64 MiB a rank; with it, the rows of a layer with so many "
    "tokens a rank, whole and in chunks. With --dispatcher, what that does with these rows, out and back: plan, "
    "dispatch, and combine of them as they came, without experts and gradients.";

constexpr char kExamples[] = R"(Examples:
  mpirun -n 2 switchyard bench all-to-all
  mpirun -n 8 --hostfile hosts switchyard bench all-to-all --width 2048
  mpirun -n 4 switchyard bench all-to-all --tokens 4096 --experts 64 --experts-per-token 8 --skew zipf:1.2
  mpirun -n 4 switchyard bench all-to-all --tokens 4096 --dispatcher deduplicated
  mpirun -n 2 switchyard bench all-to-all --json > before.json
  mpirun -n 2 switchyard bench all-to-all --baseline before.json)";

struct Arguments {
  AllToAllBenchOptions options;
  RoutedRows routed;
  bool has_tokens = false;
  std::string skew;
  BenchArguments bench;
};

absl::Status run(const Arguments& arguments, MpiSession& session) {
  Communicator& world = session.world();
  AllToAllBenchOptions options = arguments.options;
  if (arguments.has_tokens) {
    options.routed = arguments.routed;
    SY_RETURN_IF_ERROR(agree(world, parse_skew(arguments.skew, options.routed->skew)));
  }
  SY_ASSIGN_OR_RETURN(const StartedBench started, start_bench(arguments.bench, RunConfig(), world));
  const BenchPlace& place = started.place;
  SY_ASSIGN_OR_RETURN(const auto baseline, read_on_rank_0<AllToAllBench>(arguments.bench, world, [&] {
                        return read_all_to_all_baseline(arguments.bench.baseline, options, place);
                      }));
  const std::shared_ptr<Recorder> recorder = listening_recorder(session, "/dispatch");
  SY_ASSIGN_OR_RETURN(const AllToAllBench result, bench_all_to_all(options, *recorder, started.site(world),
                                                                   bench_progress(arguments.bench, world)));
  if (world.rank() != 0) return absl::OkStatus();
  std::cout << (arguments.bench.json ? all_to_all_json(options, result, place) + "\n"
                                     : all_to_all_table(options, result, place, baseline))
            << std::flush;
  return absl::OkStatus();
}

}  // namespace

void add_bench_all_to_all(CLI::App& bench, Command& command) {
  CLI::App* all_to_all = bench.add_subcommand("all-to-all", kAbout);
  const auto arguments = std::make_shared<Arguments>();
  AllToAllBenchOptions& options = arguments->options;
  RoutedRows& routed = arguments->routed;
  add_size(*all_to_all, "--width", options.width, "Numbers of a row, which is a token");
  all_to_all->add_option("--precision", options.precision, "Of a row: bf16, fp32 or fp64")
      ->check(CLI::IsMember({"bf16", "fp32", "fp64"}))
      ->capture_default_str();
  add_size(*all_to_all, "--repeats", options.repeats, "How often each size is measured; medians are shown");
  CLI::Option* tokens =
      add_size(*all_to_all, "--tokens", routed.tokens, "Tokens of each rank, for the rows of a layer")->default_str("");
  add_size(*all_to_all, "--experts", routed.experts, "Experts of the layer, spread over the ranks")->needs(tokens);
  add_size(*all_to_all, "--experts-per-token", routed.experts_per_token, "Experts that each token goes to")
      ->needs(tokens);
  all_to_all
      ->add_option("--skew", arguments->skew, "Draw the experts unevenly: zipf:1.2 is 1/i^1.2 for the i-th of them")
      ->needs(tokens);
  CLI::Option* dispatcher = all_to_all
                                ->add_option("--dispatcher", routed.dispatcher,
                                             "all_to_all, deduplicated or hierarchical, as in parallel.dispatcher")
                                ->check(CLI::IsMember({"all_to_all", "deduplicated", "hierarchical"}))
                                ->needs(tokens);
  all_to_all->add_option("--shared-memory", routed.shared_memory, "As parallel.shared_memory")
      ->capture_default_str()
      ->needs(dispatcher);
  add_device(*all_to_all, arguments->bench);
  add_bench_arguments(*all_to_all, arguments->bench);
  all_to_all->footer(kExamples);
  all_to_all->callback([&command, arguments, tokens] {
    arguments->has_tokens = tokens->count() > 0;
    command.distributed = [arguments](MpiSession& session) { return run(*arguments, session); };
  });
}

}  // namespace switchyard
