#include "launch/start/rank_facts.h"

#include <algorithm>
#include <map>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"

namespace switchyard {
namespace {

constexpr char kSeparator = '\x1f';

int64_t integer(const std::string& text) {
  int64_t value = 0;
  SY_CHECK(absl::SimpleAtoi(text, &value));
  return value;
}

std::string pack(const RankFacts& facts) {
  const std::vector<std::string> fields = {facts.host,
                                           absl::StrCat(facts.node),
                                           facts.binding.cpus,
                                           absl::StrCat(facts.binding.cores),
                                           facts.device,
                                           facts.build,
                                           facts.config_hash,
                                           absl::StrCat(absl::ToUnixNanos(facts.clock)),
                                           absl::StrCat(facts.slowest_peer),
                                           absl::StrCat(absl::ToInt64Nanoseconds(facts.slowest))};
  return absl::StrJoin(fields, std::string(1, kSeparator));
}

RankFacts unpack(const std::string& text) {
  const std::vector<std::string> fields = absl::StrSplit(text, kSeparator);
  SY_CHECK_EQ(fields.size(), size_t{10});
  RankFacts facts;
  facts.host = fields[0];
  facts.node = static_cast<int>(integer(fields[1]));
  facts.binding = {fields[2], static_cast<int>(integer(fields[3]))};
  facts.device = fields[4];
  facts.build = fields[5];
  facts.config_hash = fields[6];
  facts.clock = absl::FromUnixNanos(integer(fields[7]));
  facts.slowest_peer = static_cast<int>(integer(fields[8]));
  facts.slowest = absl::Nanoseconds(integer(fields[9]));
  return facts;
}

// A launcher that doesn't bind leaves all ranks of a host the same processors, which they then share.
void divide_cores(std::vector<RankFacts>& ranks) {
  std::map<std::pair<int, std::string>, int> sharers;
  for (const RankFacts& facts : ranks) ++sharers[{facts.node, facts.binding.cpus}];
  for (RankFacts& facts : ranks) {
    facts.threads = std::max(1, facts.binding.cores / sharers[{facts.node, facts.binding.cpus}]);
  }
}

}  // namespace

absl::StatusOr<std::vector<RankFacts>> gather_facts(Communicator& world, const RankFacts& mine) {
  SY_RETURN_IF_ERROR(world.barrier().wait());
  RankFacts told = mine;
  told.clock = absl::Now();
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> texts, all_gather_texts(world, pack(told)));
  std::vector<RankFacts> ranks;
  for (const std::string& text : texts) ranks.push_back(unpack(text));
  divide_cores(ranks);
  return ranks;
}

std::string who(const std::vector<RankFacts>& facts, const std::vector<int>& ranks) {
  std::vector<std::string> ranges, hosts;
  for (size_t first = 0; first < ranks.size();) {
    size_t last = first;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    ranges.push_back(last == first ? absl::StrCat(ranks[first]) : absl::StrCat(ranks[first], "-", ranks[last]));
    first = last + 1;
  }
  for (const int rank : ranks) {
    const std::string& host = facts[rank].host;
    if (std::find(hosts.begin(), hosts.end(), host) == hosts.end()) hosts.push_back(host);
  }
  return absl::StrCat(ranks.size() == 1 ? "rank " : "ranks ", absl::StrJoin(ranges, ", "),
                      hosts.size() == 1 ? " on host " : " on hosts ", absl::StrJoin(hosts, ", "));
}

std::string rank_table(const std::vector<RankFacts>& facts) {
  size_t host_width = 4, cpus_width = 4;
  for (const RankFacts& rank : facts) {
    host_width = std::max(host_width, rank.host.size());
    cpus_width = std::max(cpus_width, rank.binding.cpus.size());
  }
  const auto row = [&](const std::string& rank, const std::string& host, const std::string& node,
                       const std::string& cpus, const std::string& cores, const std::string& threads,
                       const std::string& device) {
    return absl::StrFormat("%5s  %-*s  %4s  %-*s  %5s  %7s  %s\n", rank, static_cast<int>(host_width), host, node,
                           static_cast<int>(cpus_width), cpus, cores, threads, device);
  };
  std::string table = row("rank", "host", "node", "cpus", "cores", "threads", "device");
  for (size_t i = 0; i < facts.size(); ++i) {
    const RankFacts& rank = facts[i];
    absl::StrAppend(&table, row(absl::StrCat(i), rank.host, absl::StrCat(rank.node), rank.binding.cpus,
                                absl::StrCat(rank.binding.cores), absl::StrCat(rank.threads), rank.device));
  }
  return table;
}

}  // namespace switchyard
