// How fast the training steps of a config are on this layout, and where their time goes: the model that assemble()
// builds and the trainer's own train_step, beside the products that they cannot do without.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <absl/status/statusor.h>

#include "launch/bench/step_options.h"
#include "launch/bench/tier_bytes.h"
#include "launch/bench/timing.h"
#include "parallel/topology/mesh.h"
#include "runtime/comm/communicator.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

// Times are milliseconds: medians over steps of the slowest rank's, unless it says otherwise.
struct StepBench {
  double ms = 0;
  double forward_ms = 0, backward_ms = 0;  // of all parts, with what they wait for; means over steps and ranks
  double floor_ms = 0;  // the step's products alone, in tensors that are there already, rows spread evenly over experts
  double gflops = 0;    // of the model's multiplications in a step, of a rank (mean)
  double peak_gflops = 0;  // per second and rank: the best of one large product while the other ranks try as well
  int64_t tokens = 0;      // of a step, over all ranks
  // Where steps are, means over steps and ranks, by step_parts().
  std::map<std::string, double> split_ms = {};
  TierBytes bytes = {};      // what a rank (mean) moves in a step: all collectives, and the rows that stay
  int64_t memory_bytes = 0;  // peak of the process that has most, after the first steps
  MeshShape shape = {};
  // Why rows go by messages within hosts too; empty where memory is shared or was not asked for.
  std::string by_messages = {};

  double tokens_per_second() const { return static_cast<double>(tokens) / (ms / 1000); }
  // MFU (launch/train/flops.h).
  double percent_of_peak() const { return 100 * gflops / (ms / 1000) / peak_gflops; }
  double percent_of_floor() const { return 100 * floor_ms / ms; }
};

// From initial weights; it writes nothing. Collective over the site's world, whose wires tell `recorder` what
// record_bytes asks for, of all groups. On all ranks alike kBadConfig where the layout is impossible, the
// errors of open_data, and kDiverged where a step is skipped.
absl::StatusOr<StepBench> bench_step(const StepBenchOptions& options, Recorder& recorder, const BenchSite& site,
                                     const BenchProgress& progress = nullptr);

}  // namespace switchyard
