#include "launch/bench/time_split.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

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

// Those of a lane, by their begin, the ones that hold others before these.
std::vector<const Span*> outer_first(std::span<const Span> spans, std::string_view lane) {
  std::vector<const Span*> sorted;
  for (const Span& span : spans) {
    if (span.lane == lane) sorted.push_back(&span);
  }
  std::stable_sort(sorted.begin(), sorted.end(), [](const Span* a, const Span* b) {
    return a->begin_ns != b->begin_ns ? a->begin_ns < b->begin_ns : a->end_ns > b->end_ns;
  });
  return sorted;
}

// Goes through time with the spans that are open at each moment.
class Walk {
 public:
  Walk(Stretches wire, const PartOf& part_of) : wire_(std::move(wire)), part_of_(part_of) {}

  void enter(const Span& span) {
    leave_until(span.begin_ns);
    spend_until(span.begin_ns);
    names_.push_back(span.name);
    open_.push_back({span.end_ns, part_of_(names_)});
  }
  void leave_until(int64_t ns) {
    while (!open_.empty() && open_.back().end_ns <= ns) {
      spend_until(open_.back().end_ns);
      open_.pop_back();
      names_.pop_back();
    }
  }
  std::map<std::string, double> take() { return std::move(split_); }

 private:
  struct Open {
    int64_t end_ns;
    std::string part;
  };

  // What passed since the last event is the innermost span's.
  void spend_until(int64_t ns) {
    if (ns > now_ && !open_.empty() && !open_.back().part.empty()) {
      const int64_t waits = covered(wire_, now_, ns);
      split_[open_.back().part] += milliseconds(ns - now_ - waits);
      split_["wire"] += milliseconds(waits);
    }
    now_ = std::max(now_, ns);
  }

  const Stretches wire_;
  const PartOf& part_of_;
  std::vector<Open> open_;
  std::vector<std::string_view> names_;
  int64_t now_ = std::numeric_limits<int64_t>::min();
  std::map<std::string, double> split_;
};

}  // namespace

std::map<std::string, double> split_time(std::span<const Span> spans, const PartOf& part_of) {
  Walk walk(united(spans, "wire"), part_of);
  for (const Span* span : outer_first(spans, "compute")) {
    // A wait for the wires is the time of what waits, from which they are taken away.
    if (span->name != "wait") walk.enter(*span);
  }
  walk.leave_until(std::numeric_limits<int64_t>::max());
  return walk.take();
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
