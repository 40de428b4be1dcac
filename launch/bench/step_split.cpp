#include "launch/bench/step_split.h"

#include <string_view>

#include "launch/bench/time_split.h"
#include "launch/trace/mixture_spans.h"

namespace switchyard {
namespace {

// Of a span of forward or backward; empty: of none that has a name here.
std::string_view known_part(std::string_view span) {
  static const std::map<std::string_view, std::string_view> beside_mixtures = {
      {"attention", "attention"},
      {"CausalAttention backward", "attention"},
      {"Rope backward", "attention"},
      {"shared experts", "shared experts"},
      {"feed forward", "feed forward"},
      {"head", "head"},
      {"LinearFunction backward", "linear"},
      {"LinearCrossEntropy backward", "linear"},
      {"cross-entropy", "loss"},
      {"cross-entropy backward", "loss"},
      {"Recompute backward", "recompute"},
  };
  const auto found = beside_mixtures.find(span);
  return found == beside_mixtures.end() ? mixture_part(span) : found->second;
}

std::string forward_part(std::string_view span) {
  const std::string_view part = known_part(span);
  return std::string("forward ").append(part.empty() ? "rest" : part);
}

std::string backward_part(std::string_view span) {
  const std::string_view part = known_part(span);
  if (part.empty()) return "backward rest";
  // A span of forward is there when backward computes a layer again.
  return std::string("backward ").append(span.ends_with(" backward") ? part : "recompute");
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

std::map<std::string, double> split_steps(std::span<const Span> spans) {
  return split_time(spans, part_of);
}

std::map<std::string, double> passes_of_steps(std::span<const Span> spans) {
  std::map<std::string, double> passes;
  for (const Span& span : spans) {
    if (span.name != "forward" && span.name != "backward") continue;
    passes[span.name] += static_cast<double>(span.end_ns - span.begin_ns) / 1e6;
  }
  return passes;
}

}  // namespace switchyard
