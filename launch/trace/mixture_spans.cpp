#include "launch/trace/mixture_spans.h"

#include <map>

namespace switchyard {

std::string_view mixture_part(std::string_view span) {
  static const std::map<std::string_view, std::string_view> parts = {
      {"route", "route"},
      {"ChooseFunction backward", "route"},
      {"GateFunction backward", "route"},
      {"ExpectedLoad backward", "route"},
      {"dispatch", "permute"},
      {"BeginDispatch backward", "permute"},
      {"EndDispatch backward", "permute"},
      {"experts", "experts"},
      {"ExpertsFunction backward", "experts"},
      {"BeginChunks backward", "experts"},
      {"combine", "combine"},
      {"BeginCombine backward", "combine"},
      {"EndCombine backward", "combine"},
      {"EndPlainCombine backward", "combine"},
      {"WeightsOfArrived backward", "combine"},
  };
  if (is_activation(span)) return "experts";
  const auto part = parts.find(span);
  return part == parts.end() ? std::string_view() : part->second;
}

bool is_activation(std::string_view span) {
  return span == "activation" || span == "activation backward";
}

}  // namespace switchyard
