#include "launch/bench/time_split.h"

#include <algorithm>
#include <vector>

namespace switchyard {
namespace {

// By span; other backward functions are the router's, which has many kinds.
const std::map<std::string, std::string, std::less<>> kParts = {
    {"route", "route"},
    {"dispatch", "permute"},
    {"BeginDispatch backward", "permute"},
    {"EndDispatch backward", "permute"},
    {"experts", "experts"},
    {"ExpertsFunction backward", "experts"},
    {"combine", "combine"},
    {"BeginCombine backward", "combine"},
    {"EndCombine backward", "combine"},
    {"EndPlainCombine backward", "combine"},
    {"WeightsOfArrived backward", "combine"},
    {"shared experts", "shared experts"},
};

double milliseconds(int64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / 1e6;
}

// Of [begin, end), what the stretches cover.
int64_t covered(const std::vector<std::pair<int64_t, int64_t>>& stretches, int64_t begin, int64_t end) {
  int64_t sum = 0;
  for (const auto& [from, to] : stretches) sum += std::max<int64_t>(0, std::min(to, end) - std::max(from, begin));
  return sum;
}

// Sorted and without overlaps.
std::vector<std::pair<int64_t, int64_t>> united(std::span<const Span> spans, std::string_view lane) {
  std::vector<std::pair<int64_t, int64_t>> all, merged;
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

std::map<std::string, double> split_time(std::span<const Span> spans) {
  const auto wire = united(spans, "wire");
  std::map<std::string, double> split;
  for (const Span& span : spans) {
    if (span.lane != "compute") continue;
    const auto part = kParts.find(span.name);
    if (part == kParts.end() && !span.name.ends_with(" backward")) continue;
    const std::string name = part == kParts.end() ? "route" : part->second;
    const int64_t waits = covered(wire, span.begin_ns, span.end_ns);
    split[name] += milliseconds(span.end_ns - span.begin_ns - waits);
    split["wire"] += milliseconds(waits);
  }
  return split;
}

}  // namespace switchyard
