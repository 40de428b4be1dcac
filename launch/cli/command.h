// The subcommands. Each add_ function describes one to the parser; when it is the one given, what it will do is put
// into the Command, which main runs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "runtime/comm/mpi.h"

namespace CLI {
class App;
}

namespace switchyard {

// Exactly one is set after parsing.
struct Command {
  std::function<absl::Status()> local;                   // runs in one process
  std::function<absl::Status(MpiSession&)> distributed;  // runs on every rank of a job
};

// What goes on with a run that stopped: the same arguments, from its newest checkpoint. `resume`: its
// checkpoint.resume.
std::string command_to_go_on(const std::string& config, const std::vector<std::string>& overrides,
                             const std::string& resume);

void add_bench(CLI::App& app, Command& command);
void add_train(CLI::App& app, Command& command);
void add_scale(CLI::App& app, Command& command);
void add_evaluate(CLI::App& app, Command& command);
void add_explain(CLI::App& app, Command& command);
void add_verify(CLI::App& app, Command& command);
void add_prepare(CLI::App& app, Command& command);
void add_config(CLI::App& app, Command& command);
void add_checkpoint(CLI::App& app, Command& command);

}  // namespace switchyard
