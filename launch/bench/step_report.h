// What a benchmark of training steps found, for people and for programs.
#pragma once

#include <optional>
#include <string>

#include <absl/status/statusor.h>

#include "launch/bench/place.h"
#include "launch/bench/step_bench.h"

namespace switchyard {

// A table; beside an earlier result of the same model and batch the ratios to it.
std::string step_table(const StepBenchOptions& options, const StepBench& result, const BenchPlace& place,
                       const std::optional<StepBench>& baseline);

// One object: what was asked, what was found.
std::string step_json(const StepBenchOptions& options, const StepBench& result, const BenchPlace& place);

// Of what step_json wrote to a file, the times. Errors as read_baseline's, where it is of another model, batch or
// precision, or of other numbers of ranks or threads; layouts and whatever else a step may be done with are compared.
absl::StatusOr<StepBench> read_step_baseline(const std::string& path, const StepBenchOptions& options,
                                             const BenchPlace& place);

}  // namespace switchyard
