// Where the time of a training step goes, by name.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/telemetry/recorder.h"

namespace switchyard {

// Parts of a step: "forward …" and "backward …" (attention, route, permute, experts, combine, shared experts, feed
// forward, head, loss, rest; backward functions of all linear layers are "backward linear", what recomputation repeats
// is "backward recompute"), "gradients" (what is left of their reduction after backward), "optimizer", "load", each
// without "wire", the waits in it; and "rest".
const std::vector<std::string>& step_parts();

// Milliseconds by part, without "rest", from the spans of whole steps.
std::map<std::string, double> split_steps(std::span<const Span> spans);

// Milliseconds of "forward" and "backward", with what they wait for, likewise.
std::map<std::string, double> passes_of_steps(std::span<const Span> spans);

}  // namespace switchyard
