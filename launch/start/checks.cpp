#include "launch/start/checks.h"

#include <algorithm>
#include <map>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"
#include "runtime/numerics/median.h"

namespace switchyard {
namespace {

// The ranks that hold each value; the values in the order of their lowest ranks.
using Camps = std::vector<std::pair<std::string, std::vector<int>>>;

Camps camps_of(const std::vector<RankFacts>& facts, std::string RankFacts::*field) {
  Camps camps;
  for (size_t rank = 0; rank < facts.size(); ++rank) {
    const std::string& value = facts[rank].*field;
    auto camp = std::find_if(camps.begin(), camps.end(), [&](const auto& known) { return known.first == value; });
    if (camp == camps.end()) camp = camps.insert(camps.end(), {value, {}});
    camp->second.push_back(static_cast<int>(rank));
  }
  return camps;
}

// The first line of `a` that `b` has differently, both trimmed; "(nothing)" past an end.
std::pair<std::string, std::string> first_difference(const std::string& a, const std::string& b) {
  const std::vector<std::string> lines_a = absl::StrSplit(a, '\n'), lines_b = absl::StrSplit(b, '\n');
  const auto line = [](const std::vector<std::string>& lines, size_t i) {
    return i < lines.size() ? std::string(absl::StripAsciiWhitespace(lines[i])) : std::string("(nothing)");
  };
  size_t i = 0;
  while (i < lines_a.size() && i < lines_b.size() && lines_a[i] == lines_b[i]) ++i;
  return {line(lines_a, i), line(lines_b, i)};
}

}  // namespace

absl::Status check_builds(const std::vector<RankFacts>& facts) {
  const Camps camps = camps_of(facts, &RankFacts::build);
  if (camps.size() == 1) return absl::OkStatus();
  std::string text = "the ranks run different builds; start the same program on all hosts:";
  for (const auto& [build, ranks] : camps) absl::StrAppend(&text, "\n", who(facts, ranks), ": ", build);
  return error(ErrorCategory::kUnavailable, text);
}

absl::Status check_configs(Communicator& world, const std::vector<RankFacts>& facts, const std::string& config_text) {
  const Camps camps = camps_of(facts, &RankFacts::config_hash);
  if (camps.size() == 1) return absl::OkStatus();
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> configs, all_gather_texts(world, config_text));
  const std::vector<int>& reference = camps.front().second;
  std::string text = "the ranks were started with different configs; give all the same file and overrides:";
  for (size_t camp = 1; camp < camps.size(); ++camp) {
    const std::vector<int>& ranks = camps[camp].second;
    const auto [expected, actual] = first_difference(configs[reference.front()], configs[ranks.front()]);
    absl::StrAppend(&text, "\n", who(facts, ranks), ": '", actual, "', but ", who(facts, reference), ": '", expected,
                    "'");
  }
  return error(ErrorCategory::kBadConfig, text);
}

absl::Status check_clocks(const std::vector<RankFacts>& facts, absl::Duration most) {
  std::vector<absl::Time> clocks;
  for (const RankFacts& rank : facts) clocks.push_back(rank.clock);
  const absl::Time middle = median(std::move(clocks));
  std::string off;
  for (size_t rank = 0; rank < facts.size(); ++rank) {
    const absl::Duration ahead = facts[rank].clock - middle;
    if (absl::AbsDuration(ahead) <= most) continue;
    absl::StrAppend(&off, "\n", who(facts, {static_cast<int>(rank)}), ": ",
                    absl::FormatDuration(absl::Trunc(absl::AbsDuration(ahead), absl::Milliseconds(1))),
                    ahead > absl::ZeroDuration() ? " ahead" : " behind");
  }
  if (off.empty()) return absl::OkStatus();
  return error(ErrorCategory::kUnavailable, absl::StrCat("clocks differ by more than ", absl::FormatDuration(most),
                                                         "; synchronise them (NTP, chrony):", off));
}

std::string tensor_group_warning(const std::vector<RankFacts>& facts, int tensor) {
  const int ranks = static_cast<int>(facts.size());
  int groups = 0;
  std::vector<int> first_crossing;
  for (int start = 0; start < ranks; start += tensor) {
    std::vector<int> group;
    bool crosses = false;
    for (int rank = start; rank < std::min(start + tensor, ranks); ++rank) {
      group.push_back(rank);
      crosses |= facts[rank].node != facts[start].node;
    }
    groups += crosses;
    if (crosses && first_crossing.empty()) first_crossing = group;
  }
  if (groups == 0) return "";
  return absl::StrCat("warning: ", groups, " of ", (ranks + tensor - 1) / tensor,
                      " tensor groups cross hosts, the first with ", who(facts, first_crossing),
                      "; every layer waits for that wire. Start a multiple of parallel.tensor = ", tensor,
                      " ranks on each host, numbered host by host.");
}

std::string shared_core_warning(const std::vector<RankFacts>& facts) {
  std::map<std::pair<int, std::string>, std::vector<int>> sharers;
  for (size_t rank = 0; rank < facts.size(); ++rank) {
    sharers[{facts[rank].node, facts[rank].binding.cpus}].push_back(static_cast<int>(rank));
  }
  for (const auto& [place, ranks] : sharers) {
    const int cores = facts[ranks.front()].binding.cores;
    if (static_cast<int>(ranks.size()) <= cores) continue;
    return absl::StrCat("warning: ", who(facts, ranks), " share ", cores, cores == 1 ? " core" : " cores",
                        "; they will wait for each other. Start fewer ranks there.");
  }
  return "";
}

}  // namespace switchyard
