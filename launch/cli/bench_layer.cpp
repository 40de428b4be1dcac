#include <iostream>
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "launch/bench/layer_bench.h"
#include "launch/bench/layer_report.h"
#include "launch/cli/bench.h"

namespace switchyard {
namespace {

constexpr char kAbout[] =
    "An MoE layer, forward and backward, with its experts spread over the ranks: its time beside the time of its "
    "matrix products alone and the best of one large product, where the rest goes, and what travels.";

constexpr char kExamples[] = R"(Examples:
  switchyard bench layer
  mpirun -n 4 switchyard bench layer --dispatcher auto --chunks auto
  mpirun -n 2 switchyard bench layer --experts 64 --experts-per-token 8 --expert-width 256 --skew zipf:1.2
  mpirun -n 2 switchyard bench layer --precision fp32 --json > before.json
  mpirun -n 2 switchyard bench layer --precision fp32 --baseline before.json)";

// As configs have it. Empty: that is no error.
std::string auto_to_zero(std::string& chunks) {
  if (chunks == "auto") chunks = "0";
  return "";
}

struct Arguments {
  LayerBenchOptions layer;
  std::string skew;
  BenchArguments bench;
};

absl::Status run(const Arguments& arguments, MpiSession& session) {
  Communicator& world = session.world();
  LayerBenchOptions options = arguments.layer;
  SY_RETURN_IF_ERROR(agree(world, parse_skew(arguments.skew, options.skew)));
  SY_ASSIGN_OR_RETURN(const StartedBench started, start_bench(arguments.bench, RunConfig(), world));
  const BenchPlace& place = started.place;
  SY_ASSIGN_OR_RETURN(const auto baseline, read_on_rank_0<LayerBench>(arguments.bench, world, [&] {
                        return read_layer_baseline(arguments.bench.baseline, options, place);
                      }));
  const std::shared_ptr<Recorder> recorder = listening_recorder(session, "/dispatch");
  SY_ASSIGN_OR_RETURN(const LayerBench result,
                      bench_layer(options, *recorder, started.site(world), bench_progress(arguments.bench, world)));
  if (world.rank() != 0) return absl::OkStatus();
  std::cout << (arguments.bench.json ? layer_json(options, result, place) + "\n"
                                     : layer_table(options, result, place, baseline))
            << std::flush;
  return absl::OkStatus();
}

}  // namespace

void add_bench_layer(CLI::App& bench, Command& command) {
  CLI::App* layer = bench.add_subcommand("layer", kAbout);
  const auto arguments = std::make_shared<Arguments>();
  LayerBenchOptions& options = arguments->layer;
  add_size(*layer, "--tokens", options.tokens, "Tokens of each rank");
  add_size(*layer, "--width", options.width, "Of a token");
  add_size(*layer, "--expert-width", options.expert_width, "Hidden width of an expert");
  add_size(*layer, "--experts", options.experts, "Experts of the layer");
  add_size(*layer, "--experts-per-token", options.experts_per_token, "Experts that each token goes to");
  add_size(*layer, "--repeats", options.repeats, "How often it is measured; medians are shown");
  layer
      ->add_option("--dispatcher", options.dispatcher,
                   "all_to_all, deduplicated, hierarchical or auto, as in parallel.dispatcher")
      ->check(CLI::IsMember({"all_to_all", "deduplicated", "hierarchical", "auto"}))
      ->capture_default_str();
  layer->add_option("--chunks", options.chunks, "As parallel.dispatch_chunks: a number or auto")
      ->transform(CLI::Validator(auto_to_zero, ""))
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  layer->add_option("--shared-memory", options.shared_memory, "As parallel.shared_memory")->capture_default_str();
  layer->add_option("--activation", options.activation, "Of the experts: swiglu, gelu or relu")
      ->check(CLI::IsMember({"swiglu", "gelu", "relu"}))
      ->capture_default_str();
  layer->add_option("--router", options.router, "As model.moe.router.kind, but supervised, which takes tags")
      ->check(CLI::IsMember(
          {"softmax", "sigmoid", "noisy_top_k", "top_p", "expert_choice", "sinkhorn", "hash", "bayesian", "dense"}))
      ->capture_default_str();
  layer->add_option("--precision", options.precision, "Of products: bf16, fp32 or fp64")
      ->check(CLI::IsMember({"bf16", "fp32", "fp64"}))
      ->capture_default_str();
  layer->add_option("--expert-tensor", options.expert_tensor, "Ranks that share each expert")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  layer->add_option("--skew", arguments->skew, "Draw the experts instead of routing: zipf:1.2 is 1/i^1.2 for the i-th");
  add_device(*layer, arguments->bench);
  add_bench_arguments(*layer, arguments->bench);
  layer->footer(kExamples);
  layer->callback([&command, arguments] {
    command.distributed = [arguments](MpiSession& session) { return run(*arguments, session); };
  });
}

}  // namespace switchyard
