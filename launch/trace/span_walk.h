// Time given to the innermost of the spans that are open.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/telemetry/recorder.h"

namespace switchyard {

// `names`: of the spans that are open in [begin_ns, end_ns), outermost first.
using StretchVisitor = std::function<void(std::span<const std::string_view> names, int64_t begin_ns, int64_t end_ns)>;

// Calls `visit` for every stretch of time in which the same spans are open, one at least; in the order of time. The
// spans are of one thread: of two that overlap, the one that begins later is within the other.
void walk_spans(std::vector<const Span*> spans, const StretchVisitor& visit);

}  // namespace switchyard
