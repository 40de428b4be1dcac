// What a benchmark of a layer found, for people and for programs.
#pragma once

#include <optional>
#include <string>

#include <absl/status/statusor.h>

#include "launch/bench/layer_bench.h"
#include "launch/bench/place.h"

namespace switchyard {

// A table; beside an earlier result of the same layer the ratios to it.
std::string layer_table(const LayerBenchOptions& options, const LayerBench& result, const BenchPlace& place,
                        const std::optional<LayerBench>& baseline);

// One object: what was asked, what was found.
std::string layer_json(const LayerBenchOptions& options, const LayerBench& result, const BenchPlace& place);

// Of what layer_json wrote to a file, the times and what dispatched. Errors as read_baseline's, where it is of another
// layer or place.
absl::StatusOr<LayerBench> read_layer_baseline(const std::string& path, const LayerBenchOptions& options,
                                               const BenchPlace& place);

}  // namespace switchyard
