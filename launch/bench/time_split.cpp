#include "launch/bench/time_split.h"

#include <cstdint>
#include <utility>

#include "launch/trace/span_walk.h"
#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"

namespace switchyard {

std::map<std::string, double> split_time(std::span<const Span> spans, const PartOf& part_of) {
  std::vector<const Span*> computing;
  for (const Span& span : spans) {
    if (span.lane == "compute") computing.push_back(&span);
  }
  std::map<std::string, double> split;
  walk_spans(std::move(computing), [&](std::span<const std::string_view> names, int64_t begin_ns, int64_t end_ns) {
    const bool waits = names.back() == "wait";
    const auto holders = waits ? names.first(names.size() - 1) : names;
    const std::string part = holders.empty() ? "" : part_of(holders);
    if (!part.empty()) split[waits ? "wire" : part] += static_cast<double>(end_ns - begin_ns) / 1e6;
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
