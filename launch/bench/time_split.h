// Where a forward and a backward of an MoE layer were, from the spans that a Listener and the wires recorded.
#pragma once

#include <map>
#include <span>
#include <string>

#include "runtime/telemetry/recorder.h"

namespace switchyard {

// Milliseconds by part: "route" (gate, choice, losses, and every backward function that is no other's), "permute" (rows
// into the order of experts and back), "experts" (products and activation), "combine" (weighted sums), "shared
// experts"; of these without "wire": the time in which a collective was under way meanwhile, be it waited for or
// hidden. Nothing is counted twice; what no span covers is missing.
std::map<std::string, double> split_time(std::span<const Span> spans);

}  // namespace switchyard
