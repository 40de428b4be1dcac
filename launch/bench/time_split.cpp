#include "launch/bench/time_split.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "launch/trace/span_walk.h"
#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"

namespace switchyard {
namespace {

using Stretches = std::vector<std::pair<int64_t, int64_t>>;

double milliseconds(int64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / 1e6;
}

// Of [begin, end), what the stretches cover, which are sorted and without overlaps.
int64_t covered(const Stretches& stretches, int64_t begin, int64_t end) {
  auto next = std::upper_bound(stretches.begin(), stretches.end(), begin,
                               [](int64_t time, const auto& stretch) { return time < stretch.second; });
  int64_t sum = 0;
  for (; next != stretches.end() && next->first < end; ++next) {
    sum += std::min(next->second, end) - std::max(next->first, begin);
  }
  return sum;
}

// What the spans of a lane cover, sorted and without overlaps.
Stretches united(std::span<const Span> spans, std::string_view lane) {
  Stretches all, merged;
  for (const Span& span : spans) {
    if (span.lane == lane) all.emplace_back(span.begin_ns, span.end_ns);
  }
  std::sort(all.begin(), all.end());
  for (const auto& [begin, end] : all) {
    if (!merged.empty() && begin <= merged.back().second) {
      merged.back().second = std::max(merged.back().second, end);
    } else {
      merged.emplace_back(begin, end);
    }
  }
  return merged;
}

}  // namespace

std::map<std::string, double> split_time(std::span<const Span> spans, const PartOf& part_of) {
  const Stretches wire = united(spans, "wire");
  std::vector<const Span*> computing;
  for (const Span& span : spans) {
    // A wait for the wires is the time of what waits, from which they are taken away.
    if (span.lane == "compute" && span.name != "wait") computing.push_back(&span);
  }
  std::map<std::string, double> split;
  walk_spans(std::move(computing), [&](std::span<const std::string_view> names, int64_t begin_ns, int64_t end_ns) {
    const std::string part = part_of(names);
    if (part.empty()) return;
    const int64_t waits = covered(wire, begin_ns, end_ns);
    split[part] += milliseconds(end_ns - begin_ns - waits);
    split["wire"] += milliseconds(waits);
  });
  return split;
}

absl::StatusOr<std::map<std::string, double>> mean_split(const std::map<std::string, double>& split,
                                                         const std::vector<std::string>& parts, double own_ms,
                                                         int64_t repeats, Communicator& world) {
  const double share = 1.0 / static_cast<double>(repeats) / world.size();
  std::map<std::string, double> mean;
  SY_ASSIGN_OR_RETURN(double rest, reduce_number(world, own_ms * share, ReduceOp::kSum));
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    const auto found = split.find(parts[i]);
    const double ms = found == split.end() ? 0 : found->second;
    SY_ASSIGN_OR_RETURN(mean[parts[i]], reduce_number(world, ms * share, ReduceOp::kSum));
    rest -= mean[parts[i]];
  }
  mean[parts.back()] = rest;
  return mean;
}

}  // namespace switchyard
