#include "launch/bench/step_split.h"

#include <algorithm>
#include <string_view>

#include "launch/bench/time_split.h"

namespace switchyard {
namespace {

using Names = std::map<std::string_view, std::string_view>;

// Spans of forward, and of backward when it computes a layer again.
const Names& forward_names() {
  static const Names names = {
      {"attention", "attention"},       {"route", "route"},     {"dispatch", "permute"},
      {"experts", "experts"},           {"combine", "combine"}, {"shared experts", "shared experts"},
      {"feed forward", "feed forward"}, {"head", "head"},       {"cross-entropy", "loss"}};
  return names;
}

const Names& backward_names() {
  static const Names names = {{"CausalAttention backward", "attention"}, {"Rope backward", "attention"},
                              {"ChooseFunction backward", "route"},      {"GateFunction backward", "route"},
                              {"ExpectedLoad backward", "route"},        {"BeginDispatch backward", "permute"},
                              {"EndDispatch backward", "permute"},       {"ExpertsFunction backward", "experts"},
                              {"BeginCombine backward", "combine"},      {"EndCombine backward", "combine"},
                              {"EndPlainCombine backward", "combine"},   {"WeightsOfArrived backward", "combine"},
                              {"LinearFunction backward", "linear"},     {"CrossEntropy backward", "loss"},
                              {"Recompute backward", "recompute"}};
  return names;
}

std::string forward_part(std::string_view name) {
  const auto found = forward_names().find(name);
  return std::string("forward ").append(found == forward_names().end() ? "rest" : found->second);
}

std::string backward_part(std::string_view name) {
  if (forward_names().contains(name)) return "backward recompute";
  const auto found = backward_names().find(name);
  return std::string("backward ").append(found == backward_names().end() ? "rest" : found->second);
}

std::string part_of(std::span<const std::string_view> names) {
  const std::string_view whole = names.front();
  if (whole == "forward") return forward_part(names.back());
  if (whole == "backward") return backward_part(names.back());
  if (whole == "wait for gradients") return "gradients";
  return whole == "optimizer" || whole == "load" ? std::string(whole) : "";
}

}  // namespace

const std::vector<std::string>& step_parts() {
  static const std::vector<std::string> parts = {"forward attention",
                                                 "forward route",
                                                 "forward permute",
                                                 "forward experts",
                                                 "forward combine",
                                                 "forward shared experts",
                                                 "forward feed forward",
                                                 "forward head",
                                                 "forward loss",
                                                 "forward rest",
                                                 "backward loss",
                                                 "backward linear",
                                                 "backward attention",
                                                 "backward combine",
                                                 "backward experts",
                                                 "backward permute",
                                                 "backward route",
                                                 "backward recompute",
                                                 "backward rest",
                                                 "gradients",
                                                 "wire",
                                                 "optimizer",
                                                 "load",
                                                 "rest"};
  return parts;
}

std::map<std::string, double> split_steps(std::vector<Span> spans) {
  std::vector<std::pair<int64_t, int64_t>> backward;
  for (const Span& span : spans) {
    if (span.lane == "compute" && span.name == "backward") backward.emplace_back(span.begin_ns, span.end_ns);
  }
  for (Span& span : spans) {
    if (span.lane != "wire" || !span.name.ends_with("/gradient")) continue;
    for (const auto& [begin, end] : backward) {
      if (begin <= span.begin_ns && span.begin_ns < end) span.begin_ns = std::min(end, span.end_ns);
    }
  }
  return split_time(spans, part_of);
}

}  // namespace switchyard
