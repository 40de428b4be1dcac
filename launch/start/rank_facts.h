// What every rank tells all others at the start of a run.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "launch/start/binding.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

struct RankFacts {
  std::string host;
  int node = 0;
  Binding binding;
  int threads = 1;  // of the binding's cores, as many as its ranks leave to each; at least 1
  std::string device;
  std::string build;
  std::string config_hash;
  absl::Time clock;        // at about the same moment on all ranks
  int slowest_peer = -1;   // rank on another host with which an exchange took longest; -1: none was timed
  absl::Duration slowest;  // how long
};

// Collective; `mine` needs no threads and no clock. The result, by rank, is the same on all ranks.
absl::StatusOr<std::vector<RankFacts>> gather_facts(Communicator& world, const RankFacts& mine);

// "rank 3 on host b", "ranks 0-2, 5 on hosts a, b".
std::string who(const std::vector<RankFacts>& facts, const std::vector<int>& ranks);

// A line of titles and one for each rank: rank, host, node, cores, threads, device.
std::string rank_table(const std::vector<RankFacts>& facts);

}  // namespace switchyard
