// What the subcommands of `switchyard bench` share on the command line.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <absl/status/statusor.h>

#include "launch/bench/place.h"
#include "launch/bench/timing.h"
#include "launch/cli/command.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/telemetry/recorder.h"

namespace CLI {
class Option;
}

namespace switchyard {

struct BenchArguments {
  std::string baseline;
  int threads = 0;
  bool json = false;
};

// --threads, --baseline and --json.
void add_bench_arguments(CLI::App& bench, BenchArguments& arguments);
// A size from 1 on.
CLI::Option* add_size(CLI::App& bench, const char* name, int64_t& value, const char* about);

// "zipf:1.2" → 1.2; nothing where it is empty. kUsage.
absl::Status parse_skew(const std::string& text, double& skew);

// Starts the job: hosts that can talk, threads, and on rank 0 without --json the table of ranks. `config_text`: what
// all ranks must have alike. Collective.
absl::StatusOr<BenchPlace> start_bench(const BenchArguments& arguments, const std::string& config_text,
                                       Communicator& world);

// On rank 0, `read` of the file of --baseline, which others need not see; none without. Collective.
template <typename Result>
absl::StatusOr<std::optional<Result>> read_on_rank_0(const BenchArguments& arguments, Communicator& world,
                                                     const std::function<absl::StatusOr<Result>()>& read) {
  if (arguments.baseline.empty()) return std::optional<Result>();
  absl::StatusOr<Result> result = Result();
  if (world.rank() == 0) result = read();
  SY_RETURN_IF_ERROR(broadcast_status(world, result.status()));
  return std::optional<Result>(*std::move(result));
}

// Made known to the wires of the session, with the bytes of the groups whose name ends with `groups`.
std::shared_ptr<Recorder> listening_recorder(MpiSession& session, const std::string& groups);

// On rank 0 without --json, how far it is: a line that is overwritten on a terminal, a line now and then elsewhere.
BenchProgress bench_progress(const BenchArguments& arguments, const Communicator& world);

// One file each.
void add_bench_layer(CLI::App& bench, Command& command);
void add_bench_all_to_all(CLI::App& bench, Command& command);
void add_bench_step(CLI::App& bench, Command& command);

}  // namespace switchyard
