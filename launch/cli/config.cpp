#include <iostream>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "launch/cli/command.h"
#include "launch/config/binder.h"
#include "launch/config/document.h"
#include "launch/config/run_config.h"

namespace switchyard {
namespace {

constexpr char kAbout[] = "Checks a config and prints it with every key, or prints the reference of all keys.";

constexpr char kExamples[] = R"(Examples:
  switchyard config configs/quickstart.yaml optimizer.lr=1e-4
  switchyard config --reference)";

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  bool reference = false;
};

absl::Status run(const Arguments& arguments) {
  if (arguments.reference) {
    RunConfig defaults;
    std::cout << reference_markdown(schema_of(defaults));
    return absl::OkStatus();
  }
  if (arguments.config.empty()) {
    return error(ErrorCategory::kUsage, "config needs a CONFIG or --reference\nRun switchyard config --help.");
  }
  SY_ASSIGN_OR_RETURN(const RunConfig config, read_config<RunConfig>(arguments.config, arguments.overrides));
  std::cout << dump_yaml(config);
  return absl::OkStatus();
}

}  // namespace

void add_config(CLI::App& app, Command& command) {
  CLI::App* config = app.add_subcommand("config", kAbout);
  const auto arguments = std::make_shared<Arguments>();
  config->add_option("CONFIG", arguments->config, "The config, a YAML file");
  config->add_option("OVERRIDES", arguments->overrides, "Keys to change, as section.key=value");
  config->add_flag("--reference", arguments->reference, "Print every key with its default and meaning, as Markdown");
  config->footer(kExamples);
  config->callback([&command, arguments] { command.local = [arguments] { return run(*arguments); }; });
}

}  // namespace switchyard
