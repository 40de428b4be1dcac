// switchyard: parses the command line, starts MPI where the subcommand runs on all ranks, and turns what comes back
// into an exit code.
#include <cstdio>
#include <string>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "launch/cli/command.h"
#include "launch/cli/report.h"
#include "launch/cli/run_ranks.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

constexpr char kAbout[] =
    "Switchyard trains mixture-of-experts language models with mpirun: experts are spread over ranks, tokens travel to "
    "them and back.";

constexpr char kFooter[] = R"(From text to a trained model:
  switchyard prepare --input text/ --output data/text --vocab-size 8192
  mpirun -n 2 switchyard train configs/quickstart.yaml
  mpirun -n 2 switchyard evaluate runs/quickstart
  mpirun -n 4 switchyard verify configs/quickstart.yaml parallel.expert=4 --shrink
  switchyard scale configs/quickstart.yaml --ranks 1,2 --axis expert
  switchyard checkpoint list runs/quickstart
  switchyard explain runs/quickstart --text README.md

Exit codes:
   0 done                      71 out of memory
  64 wrong usage               74 input or output failed (disk full, no permission)
  65 bad data                  75 stopped early with a checkpoint: run again to go on
  66 an input is missing       76 communication failed or hung
  69 a peer or backend is      77 training diverged
     unavailable               78 bad config
  70 internal error)";

absl::Status run_local(const Command& command) {
  try {
    return command.local();
  } catch (...) {
    return status_of(std::current_exception());
  }
}

int main(int argc, char** argv) {
  CLI::App app(kAbout, "switchyard");
  app.set_version_flag("--version", "switchyard " SWITCHYARD_VERSION);
  app.footer(kFooter);
  app.require_subcommand(1);
  Command command;
  add_train(app, command);
  add_evaluate(app, command);
  add_explain(app, command);
  add_verify(app, command);
  add_prepare(app, command);
  add_bench(app, command);
  add_scale(app, command);
  add_config(app, command);
  add_checkpoint(app, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked_for) {  // --help and --version
    return app.exit(asked_for);
  } catch (const CLI::ParseError& failure) {
    const auto parsed = app.get_subcommands();
    const std::string name = parsed.empty() ? "switchyard" : "switchyard " + parsed.front()->get_name();
    const absl::Status status =
        error(ErrorCategory::kUsage, std::string(failure.what()) + "\nRun " + name + " --help.");
    std::fputs(error_report(status, "").c_str(), stderr);
    return exit_code(status);
  }
  if (command.distributed) return run_ranks(argc, argv, command.distributed);
  const absl::Status status = run_local(command);
  if (!status.ok()) std::fputs(error_report(status, "").c_str(), stderr);
  return exit_code(status);
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  return switchyard::main(argc, argv);
}
