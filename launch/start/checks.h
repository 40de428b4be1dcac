// What must hold on all ranks before a run may start. Errors are the same on all ranks unless said otherwise.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "launch/start/rank_facts.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

struct PairTiming {
  int slowest_peer = -1;  // a rank on another host; -1: this rank timed nothing
  absl::Duration slowest;
};

// Collective. Between every two hosts their lowest ranks exchange messages. kCommunication where some don't get
// through within `timeout`: local to the two ranks, which name both hosts; the others can't be told over a wire that is
// cut, so after it the job can only be aborted. `host`: this rank's, for messages.
absl::StatusOr<PairTiming> check_pairs(Communicator& world, const std::string& host, absl::Duration timeout);

// Local. kUnavailable where the ranks' builds differ.
absl::Status check_builds(const std::vector<RankFacts>& facts);

// Collective. kBadConfig where the ranks' config hashes differ, with the first lines in which the configs do.
absl::Status check_configs(Communicator& world, const std::vector<RankFacts>& facts, const std::string& config_text);

// Local. kUnavailable where a clock is more than `most` off the ranks' median.
absl::Status check_clocks(const std::vector<RankFacts>& facts, absl::Duration most);

// Collective. Rank 0 creates `folder` where it is missing and writes a file that all must be able to read within
// `patience`, since shared file systems may show it late. kIo where rank 0 cannot write, kBadConfig where other hosts
// don't see it.
absl::Status check_run_folder(Communicator& world, const std::vector<RankFacts>& facts,
                              const std::filesystem::path& folder, absl::Duration patience);

// Local. Text for a person where groups of `tensor` neighbouring ranks don't share a host; else empty.
std::string tensor_group_warning(const std::vector<RankFacts>& facts, int tensor);

// Local. Text where ranks share fewer cores than they are; else empty.
std::string shared_core_warning(const std::vector<RankFacts>& facts);

}  // namespace switchyard
