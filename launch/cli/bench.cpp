#include "launch/cli/bench.h"

#include <iostream>

#include <ATen/Parallel.h>
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <absl/strings/numbers.h>
#include <absl/strings/strip.h>
#include <absl/time/clock.h>

#include "launch/config/document.h"
#include "launch/start/devices.h"
#include "launch/start/own_build.h"
#include "launch/start/start_run.h"
#include "launch/trace/listener.h"
#include "launch/train/console.h"

namespace switchyard {
namespace {

constexpr char kAbout[] = "Measures what this machine, or this job's machines, do with a model or a part of one.";

}  // namespace

void add_bench_arguments(CLI::App& bench, BenchArguments& arguments) {
  bench.add_option("--threads", arguments.threads, "Threads a rank; default: the cores that it is bound to")
      ->check(CLI::PositiveNumber);
  bench.add_option("--baseline", arguments.baseline, "Compare with what --json printed earlier");
  bench.add_flag("--json", arguments.json, "Print JSON instead of a table");
}

void add_device(CLI::App& bench, BenchArguments& arguments) {
  bench.add_option("--device", arguments.device, "As run.device: auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
}

CLI::Option* add_size(CLI::App& bench, const char* name, int64_t& value, const char* about) {
  return bench.add_option(name, value, about)->check(CLI::Range(int64_t{1}, int64_t{1} << 30))->capture_default_str();
}

absl::Status parse_skew(const std::string& text, double& skew) {
  absl::string_view number = text;
  if (text.empty() ||
      (absl::ConsumePrefix(&number, "zipf:") && absl::SimpleAtod(number, &skew) && 0 < skew && skew < 100)) {
    return absl::OkStatus();
  }
  return error(ErrorCategory::kUsage, "--skew " + text + ": give zipf:EXPONENT, such as zipf:1.2");
}

absl::StatusOr<StartedBench> start_bench(const BenchArguments& arguments, const RunConfig& config,
                                         Communicator& world) {
  SY_ASSIGN_OR_RETURN(const ChosenDevice device, choose_rank_device(arguments.device, world));
  SY_ASSIGN_OR_RETURN(
      const RunStart start,
      start_run(world, {.build = own_build(), .config_text = dump_yaml(config), .device = device.description}));
  at::set_num_threads(arguments.threads > 0 ? arguments.threads : start.threads);
  StartedBench started{.place = {.threads = at::get_num_threads(), .device = device.description},
                       .device = device.device};
  for (const RankFacts& rank : start.facts) started.place.cpus.push_back(rank.binding.cpus);
  if (world.rank() == 0 && !arguments.json) std::cout << start.report << std::endl;
  SY_ASSIGN_OR_RETURN(started.wires, connect_devices(device, world, absl::Seconds(config.communication.timeout)));
  return started;
}

std::shared_ptr<Recorder> listening_recorder(MpiSession& session, const std::string& groups) {
  auto recorder = std::make_shared<Recorder>();
  session.observe(
      [recorder, record = record_bytes(*recorder, groups)](const FinishedOperation& done) { record(done); });
  return recorder;
}

BenchProgress bench_progress(const BenchArguments& arguments, const Communicator& world) {
  if (world.rank() != 0 || arguments.json) return nullptr;
  constexpr absl::Duration kPatience = absl::Seconds(10);
  return [terminal = output_is_terminal(), told = absl::Now()](int64_t done, int64_t repeats) mutable {
    if (terminal) {
      std::cout << "\r\x1b[K";
      if (done < repeats) std::cout << "measured " << done << " of " << repeats;
      std::cout << std::flush;
    } else if (done < repeats && absl::Now() - told > kPatience) {
      told = absl::Now();
      std::cout << "measured " << done << " of " << repeats << std::endl;
    }
  };
}

void add_bench(CLI::App& app, Command& command) {
  CLI::App* bench = app.add_subcommand("bench", kAbout);
  bench->require_subcommand(1);
  add_bench_layer(*bench, command);
  add_bench_all_to_all(*bench, command);
  add_bench_step(*bench, command);
}

}  // namespace switchyard
