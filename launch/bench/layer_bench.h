// How fast an MoE layer is on this layout, and where its time goes: the layer that assemble() builds, forward and
// backward, beside the products that it cannot do without.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <absl/status/statusor.h>

#include "runtime/comm/communicator.h"
#include "runtime/comm/wire_observer.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

struct LayerBenchOptions {
  int64_t tokens = 4096;  // a rank
  int64_t width = 512, expert_width = 2048;
  int64_t experts = 8, experts_per_token = 2;
  std::string dispatcher = "all_to_all";  // of parallel.dispatcher, but auto
  int chunks = 1;                         // as parallel.dispatch_chunks
  std::string activation = "swiglu";      // swiglu, gelu, relu
  std::string router = "softmax";
  std::string precision = "bf16";  // bf16, fp32, fp64
  int expert_tensor = 1;           // ranks that share an expert; the experts are spread over the others
  // Experts are drawn with probability ~ 1/i^skew for the i-th; 0: as the router, fresh from its initial values, likes.
  double skew = 0;
  int64_t repeats = 11;
  int64_t seed = 1234;
};

// Times are milliseconds: medians over repeats of the slowest rank's, unless it says otherwise.
struct LayerBench {
  double forward_ms = 0, backward_ms = 0, ms = 0;
  // The products alone, in tensors that are there already, of the rank that has most: rows spread evenly over the
  // experts or, with skew, as they were.
  double floor_ms = 0;
  double gflops = 0;       // of these products, per repeat
  double peak_gflops = 0;  // per second and rank: the best of one large product while the other ranks try as well
  // Where forward and backward are, means over repeats and ranks: route, permute, wire, experts, combine, rest.
  std::map<std::string, double> split_ms;
  // Bytes that a rank (mean) gives to experts and gets back, both ways, per repeat: rows that stay on the rank, and
  // what it sends to others on its host and to other hosts, the counts of rows among it.
  int64_t own_bytes = 0, node_bytes = 0, remote_bytes = 0;
  double load_imbalance = 0;  // slots of the expert with most over the mean
  int64_t memory_bytes = 0;   // peak of the process that has most, with one layer that has run once
  int threads = 0;

  double percent_of_peak() const { return 100 * gflops / (ms / 1000) / peak_gflops; }
  double percent_of_floor() const { return 100 * floor_ms / ms; }
};

// What the wires are to tell while bench_layer measures. `recorder` is borrowed.
WireObserver record_layer_wires(Recorder& recorder);

// Collective over `world`, whose wires tell `recorder` what record_layer_wires asks for. kBadConfig, on all ranks
// alike, where experts, router or layout do not go together.
absl::StatusOr<LayerBench> bench_layer(const LayerBenchOptions& options, Recorder& recorder, Communicator& world);

}  // namespace switchyard
