#include "launch/explain/explain.h"

#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "launch/cli/command.h"

namespace switchyard {
namespace {

constexpr char kAbout[] =
    "Shows which experts took which tokens of a text and why: a page to look at, and the same as JSON.\n"
    "The layout of the run that saved the checkpoint does not matter: the experts are spread over the ranks that run "
    "this.";

constexpr char kExamples[] = R"(Examples:
  switchyard explain runs/quickstart --text README.md
  switchyard explain runs/quickstart/checkpoints/step-00000220 --data data/quickstart/text.validation --tokens 2048
  mpirun -n 4 switchyard explain runs/large --text book.txt --html book.html --json book.json)";

}  // namespace

void add_explain(CLI::App& app, Command& command) {
  CLI::App* explain_app = app.add_subcommand("explain", kAbout);
  const auto options = std::make_shared<ExplainOptions>();
  explain_app->add_option("CHECKPOINT|RUN_DIR", options->checkpoint, "A checkpoint's folder, or a run's directory")
      ->required();
  explain_app->add_option("OVERRIDES", options->overrides, "Keys of the saved config to change, as section.key=value");
  auto* source = explain_app->add_option_group("Tokens")->require_option(1);
  source->add_option("--text", options->text, "A text file");
  source->add_option("--data", options->data, "A prepared data set: the path of its .bin and .idx without these");
  explain_app->add_option("--tokens", options->tokens, "At most so many tokens, from the start")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  explain_app->add_option("--html", options->html, "The page's file")->capture_default_str();
  explain_app->add_option("--json", options->json, "Write the JSON that the page shows to this file, too");
  explain_app->footer(kExamples);
  explain_app->callback([&command, options] {
    command.distributed = [options](MpiSession& session) { return explain(*options, session.world()); };
  });
}

}  // namespace switchyard
