#include "launch/start/start_run.h"

#include <array>

#include <absl/strings/str_cat.h>
#include <unistd.h>

#include "launch/start/checks.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/storage/checksum.h"

namespace switchyard {
namespace {

std::string own_host() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string("unknown");
}

// Marks what all ranks found alike as agreed. After a communication failure nothing can be agreed.
absl::Status settle(Communicator& world, const absl::Status& found) {
  if (!found.ok() && error_category(found) == ErrorCategory::kCommunication) return found;
  return agree(world, found);
}

std::string report_on(const std::vector<RankFacts>& facts, int tensor) {
  std::string report = rank_table(facts);
  int slowest = -1;
  for (size_t rank = 0; rank < facts.size(); ++rank) {
    if (facts[rank].slowest_peer < 0) continue;
    if (slowest < 0 || facts[rank].slowest > facts[slowest].slowest) slowest = static_cast<int>(rank);
  }
  if (slowest >= 0) {
    absl::StrAppend(&report, "slowest pair of hosts: ", facts[slowest].host, " and ",
                    facts[facts[slowest].slowest_peer].host, ", ", absl::FormatDuration(facts[slowest].slowest),
                    " to exchange 64 KiB\n");
  }
  for (const std::string& warning : {tensor_group_warning(facts, tensor), shared_core_warning(facts)}) {
    if (!warning.empty()) absl::StrAppend(&report, warning, "\n");
  }
  return report;
}

}  // namespace

absl::StatusOr<std::vector<RankFacts>> check_peers(Communicator& world, const StartOptions& options) {
  RankFacts mine;
  mine.host = own_host();
  // First, since everything after it needs every wire.
  SY_ASSIGN_OR_RETURN(const PairTiming timing, check_pairs(world, mine.host, options.pair_timeout));
  mine.node = world.node_of(world.rank());
  mine.binding = own_binding();
  mine.device = options.device;
  mine.build = options.build;
  mine.config_hash =
      checksum_text(checksum(options.config_text.data(), static_cast<int64_t>(options.config_text.size())));
  mine.slowest_peer = timing.slowest_peer;
  mine.slowest = timing.slowest;

  SY_ASSIGN_OR_RETURN(std::vector<RankFacts> facts, gather_facts(world, mine));
  SY_RETURN_IF_ERROR(settle(world, check_builds(facts)));
  SY_RETURN_IF_ERROR(settle(world, check_configs(world, facts, options.config_text)));
  return facts;
}

absl::StatusOr<RunStart> start_run(Communicator& world, const StartOptions& options) {
  SY_ASSIGN_OR_RETURN(std::vector<RankFacts> facts, check_peers(world, options));
  SY_RETURN_IF_ERROR(settle(world, check_clocks(facts, options.clock_skew)));
  if (!options.run_folder.empty()) {
    SY_RETURN_IF_ERROR(settle(world, check_run_folder(world, facts, options.run_folder, options.folder_patience)));
  }

  RunStart start;
  start.threads = facts[world.rank()].threads;
  start.report = report_on(facts, options.tensor);
  start.facts = std::move(facts);
  return start;
}

}  // namespace switchyard
