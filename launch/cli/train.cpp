#include "launch/train/train.h"

#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <absl/strings/str_cat.h>

#include "launch/cli/command.h"
#include "launch/config/binder.h"
#include "launch/trace/step_profile.h"
#include "launch/trace/step_trace.h"
#include "launch/train/signals.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"

namespace switchyard {
namespace {

constexpr char kAbout[] =
    "Trains the model of a config on every rank of the job, and goes on where an earlier run in the same run.dir "
    "stopped.";

constexpr char kExamples[] = R"(Examples:
  mpirun -n 2 switchyard train configs/quickstart.yaml
  mpirun -n 16 switchyard train configs/x.yaml parallel.expert=8 parallel.tensor=2
  mpirun -n 4 switchyard train configs/x.yaml optimizer.lr=1e-4 --dry-run
  mpirun -n 4 switchyard train configs/x.yaml --trace steps.json --trace-steps 7-9

SIGUSR1 or SIGTERM to a rank: the step is finished, a checkpoint saved, and the exit code is 75; run the same command
again to go on.)";

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  bool dry_run = false;
  std::string trace;
  std::string trace_steps;
  bool profile = false;
};

// Null without --trace. The wires of the session tell it what goes over them for as long as they are.
absl::StatusOr<std::shared_ptr<StepTrace>> open_trace(const Arguments& arguments, MpiSession& session) {
  if (arguments.trace.empty()) return nullptr;
  StepTraceOptions options{.path = arguments.trace};
  if (!arguments.trace_steps.empty()) SY_RETURN_IF_ERROR(parse_trace_steps(arguments.trace_steps, options));
  auto trace = std::make_shared<StepTrace>(std::move(options));
  if (session.world().rank() == 0) SY_RETURN_IF_ERROR(trace->check());
  session.observe([trace, record = record_wires(trace->recorder())](const FinishedOperation& done) { record(done); });
  return trace;
}

// Null without --profile. As a trace, told by the wires.
std::shared_ptr<StepProfile> open_profile(const Arguments& arguments, MpiSession& session) {
  if (!arguments.profile) return nullptr;
  auto profile = std::make_shared<StepProfile>();
  session.observe([profile, note = profile->observer()](const FinishedOperation& done) { note(done); });
  return profile;
}

absl::Status run(const Arguments& arguments, MpiSession& session) {
  absl::StatusOr<RunConfig> config = read_config<RunConfig>(arguments.config, arguments.overrides);
  SY_RETURN_IF_ERROR(agree(session.world(), config.status()));
  session.set_timeout(absl::Seconds(config->communication.timeout));
  SY_ASSIGN_OR_RETURN(const std::shared_ptr<StepTrace> trace, agree(session.world(), open_trace(arguments, session)));
  const std::shared_ptr<StepProfile> profile = open_profile(arguments, session);
  const std::string command = command_to_go_on(arguments.config, arguments.overrides, config->checkpoint.resume);
  // From here on, so that a signal that comes before the first step ends the run after it.
  const StopSignals signals;
  return train({.config = *std::move(config),
                .dry_run = arguments.dry_run,
                .command = command,
                .stop_requested = [&signals] { return signals.received() != 0; },
                .trace = trace.get(),
                .profile = profile.get()},
               session.world());
}

}  // namespace

std::string command_to_go_on(const std::string& config, const std::vector<std::string>& overrides,
                             const std::string& resume) {
  std::string command = absl::StrCat("switchyard train ", config);
  for (const std::string& word : overrides) absl::StrAppend(&command, " '", word, "'");
  // The last override wins; never, or an older checkpoint, would be refused now.
  if (resume != "auto") absl::StrAppend(&command, " checkpoint.resume=auto");
  return command;
}

void add_train(CLI::App& app, Command& command) {
  CLI::App* train = app.add_subcommand("train", kAbout);
  const auto arguments = std::make_shared<Arguments>();
  train->add_option("CONFIG", arguments->config, "The config, a YAML file")->required();
  train->add_option("OVERRIDES", arguments->overrides, "Keys to change, as section.key=value");
  train->add_flag("--dry-run", arguments->dry_run,
                  "Check everything but the run directory, print the layout, the parameters and the estimated memory a "
                  "rank, and stop; nothing is created");
  CLI::Option* trace =
      train->add_option("--trace", arguments->trace,
                        "Write what all ranks do in some steps to this file, a trace that ui.perfetto.dev opens");
  train
      ->add_option("--trace-steps", arguments->trace_steps,
                   "Which steps, counted from 1: 7, or 7-9; default: the second and third that this start trains")
      ->needs(trace);
  train
      ->add_flag(
          "--profile", arguments->profile,
          "Note for every step in metrics.jsonl where its time is (seconds) and what all ranks send within hosts "
          "and between them (sent); a microsecond or so a span")
      ->excludes(trace);
  train->footer(kExamples);
  train->callback([&command, arguments] {
    command.distributed = [arguments](MpiSession& session) { return run(*arguments, session); };
  });
}

}  // namespace switchyard
