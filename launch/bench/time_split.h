// Where a forward and a backward of an MoE layer were, from the spans that a Listener and the wires recorded.
#pragma once

#include <map>
#include <span>
#include <string>

#include "runtime/telemetry/recorder.h"

namespace switchyard {

// Milliseconds by part: "route" (gate, choice, losses), "permute" (rows into the order of experts and back), "wire"
// (what permuting waits for), "experts" (products and activation), "combine" (weighted sums), "shared experts". Nothing
// is counted twice; what none of them covers is missing.
std::map<std::string, double> split_time(std::span<const Span> spans);

}  // namespace switchyard
