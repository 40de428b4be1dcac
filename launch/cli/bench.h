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
#include "launch/config/run_config.h"
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
  std::string device = "auto";  // as run.device
};

// --threads, --baseline and --json.
void add_bench_arguments(CLI::App& bench, BenchArguments& arguments);
// --device, for those that have no config.
void add_device(CLI::App& bench, BenchArguments& arguments);
// A size from 1 on.
CLI::Option* add_size(CLI::App& bench, const char* name, int64_t& value, const char* about);

// "zipf:1.2" → 1.2; nothing where it is empty. kUsage.
absl::Status parse_skew(const std::string& text, double& skew);

// A job that has started.
struct StartedBench {
  BenchPlace place;
  c10::Device device = c10::kCPU;
  std::unique_ptr<Communicator> wires = nullptr;  // of the device's tensors; null: the world

  BenchSite site(Communicator& world) const { return {world, wires ? *wires : world, device}; }
};

// Starts the job: hosts that can talk, threads, devices, and on rank 0 without --json the table of ranks. `config`:
// what all ranks must have alike. Collective over `world`, which what comes back borrows.
absl::StatusOr<StartedBench> start_bench(const BenchArguments& arguments, const RunConfig& config, Communicator& world);

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
