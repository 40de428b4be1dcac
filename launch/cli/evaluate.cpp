#include "launch/train/evaluate.h"

#include <filesystem>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "launch/cli/command.h"
#include "launch/config/binder.h"
#include "runtime/comm/agreement.h"

namespace switchyard {
namespace {

constexpr char kAbout[] =
    "Measures the loss of a run's newest checkpoint, or of checkpoint.resume=PATH, on its validation data.";

constexpr char kExamples[] = R"(Examples:
  mpirun -n 2 switchyard evaluate runs/quickstart
  mpirun -n 4 switchyard evaluate runs/quickstart parallel.expert=4 data.validation_sequences=all)";

struct Arguments {
  std::string source;
  std::vector<std::string> overrides;
};

absl::StatusOr<RunConfig> config_of(const Arguments& arguments) {
  std::error_code code;
  if (!std::filesystem::is_directory(arguments.source, code)) {
    return read_config<RunConfig>(arguments.source, arguments.overrides);
  }
  // The directory may have moved since its config was saved, and where that run began is of no interest.
  std::vector<std::string> overrides = {"run.dir=" + arguments.source, "checkpoint.resume=auto"};
  overrides.insert(overrides.end(), arguments.overrides.begin(), arguments.overrides.end());
  return read_config<RunConfig>(arguments.source + "/config.yaml", overrides);
}

absl::Status run(const Arguments& arguments, MpiSession& session) {
  absl::StatusOr<RunConfig> config = config_of(arguments);
  SY_RETURN_IF_ERROR(agree(session.world(), config.status()));
  session.set_timeout(absl::Seconds(config->communication.timeout));
  return evaluate(*config, session.world());
}

}  // namespace

void add_evaluate(CLI::App& app, Command& command) {
  CLI::App* evaluate = app.add_subcommand("evaluate", kAbout);
  const auto arguments = std::make_shared<Arguments>();
  evaluate->add_option("CONFIG|RUN_DIR", arguments->source, "The config, or a run's directory")->required();
  evaluate->add_option("OVERRIDES", arguments->overrides, "Keys to change, as section.key=value");
  evaluate->footer(kExamples);
  evaluate->callback([&command, arguments] {
    command.distributed = [arguments](MpiSession& session) { return run(*arguments, session); };
  });
}

}  // namespace switchyard
