// Where a rank's time went, from the spans that a Listener recorded.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "runtime/comm/communicator.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

// The part that a span counts for, from the names of the spans that hold it, outermost first, and its own; empty: none.
using PartOf = std::function<std::string(std::span<const std::string_view> names)>;

// Milliseconds by part. The time of a span of lane "compute" is its own without that of the spans in it; a part's
// "wait"s, for the wires and for ranks that come later, are "wire". What travels beside computing is not seen. Nothing
// is counted twice; what belongs to no part is missing.
std::map<std::string, double> split_time(std::span<const Span> spans, const PartOf& part_of);

// Of a repeat, the mean over ranks of `parts`, the last of which is what the others leave of the `own_ms` that all
// repeats took this rank. Collective over `world`; kCommunication.
absl::StatusOr<std::map<std::string, double>> mean_split(const std::map<std::string, double>& split,
                                                         const std::vector<std::string>& parts, double own_ms,
                                                         int64_t repeats, Communicator& world);

}  // namespace switchyard
