// How fast an MoE layer is on this layout, and where its time goes: the layer that assemble() builds, forward and
// backward, beside the products that it cannot do without.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "launch/bench/layer_options.h"
#include "launch/bench/tier_bytes.h"
#include "launch/bench/timing.h"
#include "runtime/comm/communicator.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

// Times are milliseconds: medians over repeats of the slowest rank's, unless it says otherwise.
struct LayerBench {
  double forward_ms = 0, backward_ms = 0, ms = 0;
  // The products alone, in tensors that are there already, of the rank that has most: rows spread evenly over the
  // experts or, with skew, as they were.
  double floor_ms = 0;
  double gflops = 0;       // of these products, per repeat
  double peak_gflops = 0;  // per second and rank: the best of one large product while the other ranks try as well
  // Where forward and backward are, means over repeats and ranks, by layer_parts().
  std::map<std::string, double> split_ms = {};
  // What a rank (mean) gives to experts and gets back, both ways, per repeat, the counts of rows among it.
  TierBytes bytes = {};
  double load_imbalance = 0;  // slots of the expert with most over the mean
  int64_t memory_bytes = 0;   // peak of the process that has most, with one layer that has run once
  // What dispatched, as it was asked for or as auto settled it here.
  std::string dispatcher = "all_to_all";
  int chunks = 1;
  // Why rows go by messages within hosts too; empty where memory is shared or was not asked for.
  std::string by_messages = {};

  double percent_of_peak() const { return 100 * gflops / (ms / 1000) / peak_gflops; }
  double percent_of_floor() const { return 100 * floor_ms / ms; }
};

// Parts of split_ms: "route" (gate, choice, losses, and every backward function that is no other's), "permute" (rows
// into the order of experts and back), "wire" (as split_time has it), "products" (the experts', with all that is no
// activation), "activation" (theirs), "combine" (weighted sums), "rest".
const std::vector<std::string>& layer_parts();

// Collective over the site's world, whose wires tell `recorder` what record_bytes asks for, of "/dispatch".
// kBadConfig, on all ranks alike, where experts, router or layout do not go together.
absl::StatusOr<LayerBench> bench_layer(const LayerBenchOptions& options, Recorder& recorder, const BenchSite& site,
                                       const BenchProgress& progress = nullptr);

}  // namespace switchyard
