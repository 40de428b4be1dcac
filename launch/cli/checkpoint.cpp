#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "launch/checkpoint_tools/tools.h"
#include "launch/cli/command.h"
#include "launch/train/console.h"

namespace switchyard {
namespace {

constexpr char kAbout[] =
    "Looks at checkpoints and rewrites them, offline. PATH is a checkpoint, or a run directory or a folder of "
    "checkpoints, whose newest one is then meant.";

constexpr char kExamples[] = R"(Examples:
  switchyard checkpoint list runs/quickstart
  switchyard checkpoint show runs/quickstart --match 'layers.0.*'
  mpirun -n 4 switchyard checkpoint verify runs/quickstart/checkpoints/step-00000100
  switchyard checkpoint diff runs/a runs/b --match 'layers.*' --tolerance 1e-6
  switchyard checkpoint reshard runs/quickstart --files 8 --output eight --memory 1GiB
  switchyard checkpoint extract runs/quickstart 'layers.0.*' head --output some.safetensors

All but list and show share their work over the ranks of mpirun.)";

// What all subcommands are given.
struct Arguments {
  std::string path, other;
  std::vector<std::string> patterns;
  std::string output;
  uint64_t memory = uint64_t{256} << 20;
  int files = 1;
  double tolerance = -1;
  bool boxes = false;
};
using Tool = std::function<absl::Status(const Arguments&, Communicator& world, const ToolOutput&)>;

class ToolParser {
 public:
  ToolParser(CLI::App& group, Command& command) : group_(group), command_(command) {}

  ToolParser& tool(const std::string& name, const std::string& about, Tool run) {
    arguments_ = std::make_shared<Arguments>();
    app_ = group_.add_subcommand(name, about);
    app_->callback([&command = command_, arguments = arguments_, run = std::move(run)] {
      command.distributed = [arguments, run](MpiSession& session) {
        const bool speaks = session.world().rank() == 0;
        return run(
            *arguments, session.world(),
            {.out = speaks ? &std::cout : nullptr, .progress = speaks && output_is_terminal() ? &std::cout : nullptr});
      };
    });
    return *this;
  }
  ToolParser& path(const std::string& name = "PATH") {
    app_->add_option(name, arguments_->path, "Checkpoint, run directory, or folder of checkpoints")->required();
    return *this;
  }
  ToolParser& other() {
    app_->add_option("OTHER", arguments_->other, "What to compare with")->required();
    return *this;
  }
  ToolParser& match() {
    app_->add_option("--match", arguments_->patterns, "Only tensors whose names match one of these patterns");
    return *this;
  }
  ToolParser& patterns() {
    app_->add_option("PATTERN", arguments_->patterns, "Tensors, by name or pattern")->required();
    return *this;
  }
  ToolParser& output(const std::string& about) {
    app_->add_option("--output", arguments_->output, about)->required();
    return *this;
  }
  ToolParser& memory() {
    app_->add_option("--memory", arguments_->memory, "Memory for data, bytes a rank: 256MiB, 2GiB")
        ->transform(CLI::AsSizeValue(false))
        ->capture_default_str();
    return *this;
  }
  CLI::App* app() const { return app_; }
  Arguments& arguments() const { return *arguments_; }

 private:
  CLI::App& group_;
  Command& command_;
  CLI::App* app_ = nullptr;
  std::shared_ptr<Arguments> arguments_;
};

absl::Status extract(const Arguments& a, Communicator& world, const ToolOutput& output) {
  return extract_tensors(a.path, {.patterns = a.patterns, .output = a.output, .memory = static_cast<int64_t>(a.memory)},
                         world, output);
}

void add_readers(ToolParser& parser) {
  parser
      .tool("list", "Lists the checkpoints of a run, and whether they are valid",
            [](const Arguments& a, Communicator& world, const ToolOutput& output) {
              return list_checkpoints_of(a.path, world, output);
            })
      .path();
  parser
      .tool("show", "Shows the tensors of a checkpoint as a tree, with shapes and sizes",
            [](const Arguments& a, Communicator& world, const ToolOutput& output) {
              return show_checkpoint(a.path, a.patterns, a.boxes, world, output);
            })
      .path()
      .match();
  parser.app()->add_flag("--boxes", parser.arguments().boxes, "Show which file holds which box");
  parser
      .tool("verify", "Reads every byte and compares the checksums",
            [](const Arguments& a, Communicator& world, const ToolOutput& output) {
              return verify_checkpoint(a.path, world, output);
            })
      .path();
  parser
      .tool("diff", "Shows the largest deviation of every tensor that differs",
            [](const Arguments& a, Communicator& world, const ToolOutput& output) {
              return diff_checkpoints(
                  a.path, a.other,
                  {.patterns = a.patterns, .tolerance = a.tolerance, .memory = static_cast<int64_t>(a.memory)}, world,
                  output);
            })
      .path()
      .other()
      .match()
      .memory();
  parser.app()
      ->add_option("--tolerance", parser.arguments().tolerance, "Fail where an element deviates by more")
      ->check(CLI::NonNegativeNumber);
}

void add_writers(ToolParser& parser) {
  parser
      .tool("reshard", "Writes a checkpoint again, spread evenly over a number of files",
            [](const Arguments& a, Communicator& world, const ToolOutput& output) {
              return reshard_checkpoint(
                  a.path, {.output = a.output, .files = a.files, .memory = static_cast<int64_t>(a.memory)}, world,
                  output);
            })
      .path()
      .output("Folder to write step-… into")
      .memory();
  parser.app()
      ->add_option("--files", parser.arguments().files, "Files, best as many as ranks that will load it")
      ->required()
      ->check(CLI::Range(1, 99999));
  parser.tool("merge", "Writes all tensors, whole, as one safetensors file", extract)
      .path()
      .match()
      .output("File to write")
      .memory();
  parser.tool("extract", "Writes some tensors, whole, as one safetensors file", extract)
      .path()
      .patterns()
      .output("File to write")
      .memory();
}

}  // namespace

void add_checkpoint(CLI::App& app, Command& command) {
  CLI::App* group = app.add_subcommand("checkpoint", kAbout);
  group->require_subcommand(1);
  group->footer(kExamples);
  ToolParser parser(*group, command);
  add_readers(parser);
  add_writers(parser);
}

}  // namespace switchyard
