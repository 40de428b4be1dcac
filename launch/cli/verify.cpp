#include "launch/verify/verify.h"

#include <cstdio>
#include <iostream>

#include <ATen/Parallel.h>
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/time/clock.h>

#include "launch/cli/command.h"
#include "launch/config/binder.h"
#include "launch/config/document.h"
#include "launch/start/own_build.h"
#include "launch/start/start_run.h"
#include "launch/train/console.h"
#include "launch/train/create_mesh.h"
#include "launch/train/estimate.h"
#include "launch/train/job.h"
#include "launch/verify/report.h"
#include "launch/verify/shrink.h"
#include "runtime/comm/agreement.h"

namespace switchyard {
namespace {

constexpr char kAbout[] =
    "Compares the config's layout with one rank: trains it for some steps beside a plain reference in fp64, on rank 0, "
    "that shares no dispatcher, reducer, sharded optimizer, kernel or router with it (but the "
    "bayesian one), and compares logits, losses, every gradient, every update and the choices of experts.";

constexpr char kExamples[] = R"(Examples:
  mpirun -n 4 switchyard verify configs/bench_63m.yaml parallel.expert=4 --shrink
  mpirun -n 4 switchyard verify configs/x.yaml train.precision=fp64 --shrink --json
  mpirun -n 2 switchyard verify configs/bench_63m.yaml --shrink --inject double_divisor
  switchyard verify --inject list

Bounds are derived from the precision's round-off, the depth and the lengths of sums; train.precision=fp64 makes them
tight. data.train=random takes random documents. Exit code 0: all hold; 70: some do not; 64: a planted bug changes
nothing, or shows nowhere.)";

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  int64_t steps = 2;
  bool shrink = false;
  bool json = false;
  std::string inject;
};

void show(const VerifiedRun& run, const RunConfig& config, Console& console) {
  console.line(absl::StrCat("layout      ", describe_layout(run.shape), ", ", run.precision, ", on the CPU"));
  console.line(absl::StrCat("tokens      ", run.tokens, ", ", config.train.global_batch, " sequences of ",
                            config.data.sequence, " in ", config.train.accumulation, " parts"));
  if (!run.shrunk.empty()) console.line(absl::StrCat("shrunk      ", run.shrunk));
  if (!run.planted.empty()) console.line(absl::StrCat("planted     ", run.planted));
}

// Both sides compute on the host.
absl::Status check_device(const RunConfig& config) {
  if (config.run.device != "cuda") return absl::OkStatus();
  return error(ErrorCategory::kUsage,
               "verify computes on the CPU and can't tell anything of run.device: cuda; give run.device=cpu");
}

absl::Status run(const Arguments& arguments, MpiSession& session) {
  Communicator& world = session.world();
  absl::StatusOr<RunConfig> read = read_config<RunConfig>(arguments.config, arguments.overrides);
  SY_RETURN_IF_ERROR(agree(world, read.status()));
  RunConfig config = *std::move(read);
  SY_RETURN_IF_ERROR(agree(world, check_device(config)));
  session.set_timeout(absl::Seconds(config.communication.timeout));
  SY_ASSIGN_OR_RETURN(int64_t vocabulary, agree(world, resolve_vocabulary(config)));
  SY_ASSIGN_OR_RETURN(const MeshShape shape, agree(world, resolve_mesh(config, world.size())));
  SY_RETURN_IF_ERROR(check_peers(world, {.build = own_build(), .config_text = dump_yaml(config)}).status());
  if (config.run.threads > 0) at::set_num_threads(config.run.threads);

  // With --json the result alone goes to standard output.
  Console console(arguments.json ? std::cerr : std::cout, false, 0, 0);
  const bool speaks = world.rank() == 0;
  SY_ASSIGN_OR_RETURN(const TokenSupply tokens, agree(world, find_tokens(config, vocabulary)));
  VerifiedRun verified{.shape = shape,
                       .precision = config.train.precision,
                       .tokens = tokens.describe(),
                       .shrunk = {},
                       .planted = arguments.inject};
  if (arguments.shrink) {
    SY_ASSIGN_OR_RETURN(Shrunk shrunk, agree(world, shrink(std::move(config), vocabulary, shape)));
    config = std::move(shrunk.config);
    vocabulary = shrunk.vocabulary;
    verified.shrunk = std::move(shrunk.changes);
  }
  if (speaks) show(verified, config, console);

  const absl::Time start = absl::Now();
  VerifyOptions options{.config = config, .vocabulary = vocabulary, .tokens = tokens, .steps = arguments.steps};
  options.inject = arguments.inject;
  if (speaks) options.tell = [&console](const std::string& line) { console.line(line); };
  SY_ASSIGN_OR_RETURN(const VerifyResult result, verify_layout(options, world));
  if (speaks) {
    console.line(absl::StrCat("\n", summary(result)));
    if (arguments.json) std::cout << to_json(result, verified) << std::endl;
    if (result.pass() && arguments.inject.empty()) {
      console.line(absl::StrFormat("verified: %d comparisons over %d steps hold (%.1f s)", result.rows.size(),
                                   result.steps, absl::ToDoubleSeconds(absl::Now() - start)));
    }
  }
  if (result.pass() && !arguments.inject.empty()) {
    return agree(world,
                 error(ErrorCategory::kUsage,
                       absl::StrCat("the planted bug ", arguments.inject, " was not seen: what it changed (",
                                    result.planted_changes, " numbers) has no effect here, or less than rounding at ",
                                    config.train.precision, "; plant it with train.precision=fp64")));
  }
  return agree(world, verdict(result));
}

absl::Status show_kinds() {
  std::fputs(list_bug_kinds().c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace

void add_verify(CLI::App& app, Command& command) {
  CLI::App* verify = app.add_subcommand("verify", kAbout);
  const auto arguments = std::make_shared<Arguments>();
  verify->add_option("CONFIG", arguments->config, "The config, a YAML file");
  verify->add_option("OVERRIDES", arguments->overrides, "Keys to change, as section.key=value");
  verify->add_option("--steps", arguments->steps, "Steps to compare; the first one that differs is the last")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verify->add_flag("--shrink", arguments->shrink,
                   "Cut widths, layers, vocabulary, sequence and batch to what takes seconds; keep what layouts depend "
                   "on");
  verify->add_flag("--json", arguments->json, "Print all comparisons as JSON; progress goes to standard error");
  verify->add_option("--inject", arguments->inject, "Plant a bug of this kind, which must be found; list: show them");
  verify->footer(kExamples);
  verify->callback([&command, arguments] {
    if (arguments->inject == "list") {
      command.local = show_kinds;
      return;
    }
    if (arguments->config.empty()) throw CLI::RequiredError("CONFIG");
    command.distributed = [arguments](MpiSession& session) { return run(*arguments, session); };
  });
}

}  // namespace switchyard
