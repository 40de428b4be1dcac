// What a benchmark of a layer found, for people and for programs.
#pragma once

#include <optional>
#include <string>

#include <absl/status/statusor.h>

#include "launch/bench/layer_bench.h"

namespace switchyard {

// A table; beside an earlier result of the same layer the ratios to it.
std::string bench_table(const LayerBenchOptions& options, const LayerBench& result, int ranks,
                        const std::optional<LayerBench>& baseline);

// One object: what was asked, what was found.
std::string bench_json(const LayerBenchOptions& options, const LayerBench& result, int ranks);

// What bench_json wrote to a file. kMissingInput, kBadData, and kUsage where it is of another layer, or of other
// numbers of ranks or threads.
absl::StatusOr<LayerBench> read_baseline(const std::string& path, const LayerBenchOptions& options, int ranks,
                                         int threads);

}  // namespace switchyard
