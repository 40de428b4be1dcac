// What a benchmark of the all-to-all found, for people and for programs.
#pragma once

#include <optional>
#include <string>

#include <absl/status/statusor.h>

#include "launch/bench/all_to_all_bench.h"
#include "launch/bench/place.h"

namespace switchyard {

// A table; beside an earlier result of the same sizes the ratios to it.
std::string all_to_all_table(const AllToAllBenchOptions& options, const AllToAllBench& result, const BenchPlace& place,
                             const std::optional<AllToAllBench>& baseline);

// One object: what was asked, what was found.
std::string all_to_all_json(const AllToAllBenchOptions& options, const AllToAllBench& result, const BenchPlace& place);

// Of what all_to_all_json wrote to a file, the times. Errors as read_baseline's, where it is of other rows or another
// place.
absl::StatusOr<AllToAllBench> read_all_to_all_baseline(const std::string& path, const AllToAllBenchOptions& options,
                                                       const BenchPlace& place);

}  // namespace switchyard
