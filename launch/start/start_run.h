// The start of a run: every rank learns where the others are, and all make sure that they can work together.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "launch/start/rank_facts.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

struct StartOptions {
  std::string build;                      // what tells two programs apart: version, commit, compiler
  std::string config_text;                // the resolved config
  std::filesystem::path run_folder = {};  // created where it is missing; empty: not looked at
  std::string device = "cpu";
  int tensor = 1;  // ranks of a tensor group
  absl::Duration pair_timeout = absl::Seconds(30);
  absl::Duration folder_patience = absl::Seconds(15);
  absl::Duration clock_skew = absl::Minutes(1);
};

struct RunStart {
  std::vector<RankFacts> facts;  // by rank
  int threads;                   // for this rank
  std::string report;  // for a person: the table of ranks, the slowest pair of hosts, warnings; ends in a newline
};

// The part of a start that every command on several ranks needs: hosts that can talk, equal builds and configs. Of the
// options it reads build, config_text, device and pair_timeout. Collective over `world`; errors as start_run's.
absl::StatusOr<std::vector<RankFacts>> check_peers(Communicator& world, const StartOptions& options);

// Collective over `world`. Hosts that can't talk end it with kCommunication on the two ranks concerned only (abort the
// job then); every other error is agreed by all ranks (runtime/comm/agreement.h): different builds or clocks
// kUnavailable, different configs or a run directory that some hosts don't see kBadConfig, one that can't be written
// kIo.
absl::StatusOr<RunStart> start_run(Communicator& world, const StartOptions& options);

}  // namespace switchyard
