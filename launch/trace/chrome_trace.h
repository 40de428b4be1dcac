// Spans as Google's Trace Event Format ("Trace Event Format", JSON object form), which Perfetto (ui.perfetto.dev) and
// chrome://tracing open: a process for each rank, a thread for each lane.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/telemetry/recorder.h"

namespace switchyard {

// What one rank did, as events with commas between them. Times are given from `zero_ns` on. Spans of a lane that
// overlap without one holding the other ("all_to_all" beside "all_reduce") are put on further rows of that lane.
std::string trace_events(int rank, const std::string& title, std::vector<Span> spans, int64_t zero_ns);

// The whole file, of the ranks' events.
std::string chrome_trace(std::span<const std::string> events_of_ranks);

}  // namespace switchyard
