#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include <ATen/Parallel.h>
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <absl/strings/numbers.h>
#include <absl/strings/strip.h>

#include "launch/bench/layer_bench.h"
#include "launch/bench/report.h"
#include "launch/cli/command.h"
#include "launch/start/own_build.h"
#include "launch/start/start_run.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"

namespace switchyard {
namespace {

constexpr char kAbout[] = "Measures what this machine, or this job's machines, do with a part of a model.";

constexpr char kLayerAbout[] =
    "An MoE layer, forward and backward, with its experts spread over the ranks: its time beside the time of its "
    "matrix products alone and the best of one large product, where the rest goes, and what travels.";

constexpr char kExamples[] = R"(Examples:
  switchyard bench layer
  mpirun -n 2 switchyard bench layer --experts 64 --experts-per-token 8 --expert-width 256 --skew zipf:1.2
  mpirun -n 2 switchyard bench layer --precision fp32 --json > before.json
  mpirun -n 2 switchyard bench layer --precision fp32 --baseline before.json)";

struct Arguments {
  LayerBenchOptions layer;
  std::string skew;
  std::string baseline;
  int threads = 0;
  bool json = false;
};

absl::Status parse_skew(const std::string& text, double& skew) {
  absl::string_view number = text;
  if (text.empty() ||
      (absl::ConsumePrefix(&number, "zipf:") && absl::SimpleAtod(number, &skew) && 0 < skew && skew < 100)) {
    return absl::OkStatus();
  }
  return error(ErrorCategory::kUsage, "--skew " + text + ": give zipf:EXPONENT, such as zipf:1.2");
}

absl::Status run(const Arguments& arguments, MpiSession& session) {
  Communicator& world = session.world();
  LayerBenchOptions options = arguments.layer;
  SY_RETURN_IF_ERROR(agree(world, parse_skew(arguments.skew, options.skew)));
  SY_ASSIGN_OR_RETURN(const RunStart start, start_run(world, {.build = own_build(), .config_text = ""}));
  at::set_num_threads(arguments.threads > 0 ? arguments.threads : start.threads);
  const bool speaks = world.rank() == 0;
  std::optional<LayerBench> baseline;  // on rank 0
  if (!arguments.baseline.empty()) {
    absl::StatusOr<LayerBench> read = LayerBench();
    if (speaks) read = read_baseline(arguments.baseline, options, world.size(), at::get_num_threads());
    SY_RETURN_IF_ERROR(broadcast_status(world, read.status()));
    baseline = *std::move(read);
  }
  if (speaks && !arguments.json) std::cout << start.report << std::endl;

  auto recorder = std::make_shared<Recorder>();
  session.observe([recorder, record = record_layer_wires(*recorder)](const FinishedOperation& done) { record(done); });
  SY_ASSIGN_OR_RETURN(const LayerBench result, bench_layer(options, *recorder, world));
  if (!speaks) return absl::OkStatus();
  std::cout << (arguments.json ? bench_json(options, result, world.size()) + "\n"
                               : bench_table(options, result, world.size(), baseline))
            << std::flush;
  return absl::OkStatus();
}

}  // namespace

void add_bench(CLI::App& app, Command& command) {
  CLI::App* group = app.add_subcommand("bench", kAbout);
  group->require_subcommand(1);
  CLI::App* layer = group->add_subcommand("layer", kLayerAbout);
  const auto arguments = std::make_shared<Arguments>();
  LayerBenchOptions& options = arguments->layer;
  const auto size = [layer](const char* name, int64_t& value, const char* about) {
    layer->add_option(name, value, about)->check(CLI::Range(int64_t{1}, int64_t{1} << 30))->capture_default_str();
  };
  size("--tokens", options.tokens, "Tokens of each rank");
  size("--width", options.width, "Of a token");
  size("--expert-width", options.expert_width, "Hidden width of an expert");
  size("--experts", options.experts, "Experts of the layer");
  size("--experts-per-token", options.experts_per_token, "Experts that each token goes to");
  size("--repeats", options.repeats, "How often it is measured; medians are shown");
  layer
      ->add_option("--dispatcher", options.dispatcher,
                   "all_to_all, deduplicated or hierarchical, as in parallel.dispatcher")
      ->check(CLI::IsMember({"all_to_all", "deduplicated", "hierarchical"}))
      ->capture_default_str();
  layer->add_option("--chunks", options.chunks, "As parallel.dispatch_chunks")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  layer->add_option("--activation", options.activation, "Of the experts: swiglu, gelu or relu")
      ->check(CLI::IsMember({"swiglu", "gelu", "relu"}))
      ->capture_default_str();
  layer->add_option("--router", options.router, "Any of model.moe.router.kind")
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
  layer->add_option("--threads", arguments->threads, "Threads a rank; default: the cores that it is bound to")
      ->check(CLI::PositiveNumber);
  layer->add_option("--baseline", arguments->baseline, "Compare with what --json printed earlier");
  layer->add_flag("--json", arguments->json, "Print JSON instead of a table");
  layer->footer(kExamples);
  layer->callback([&command, arguments] {
    command.distributed = [arguments](MpiSession& session) { return run(*arguments, session); };
  });
}

}  // namespace switchyard
