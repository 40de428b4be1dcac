#include <map>
#include <optional>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>

#include "launch/start/checks.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

constexpr int64_t kBytes = 64 * 1024;  // beyond what travels eagerly with the first packet

// The lowest rank of each host, ascending.
std::vector<int> leaders_of(const Communicator& world) {
  std::map<int, int> first_on;
  for (int rank = 0; rank < world.size(); ++rank) first_on.try_emplace(world.node_of(rank), rank);
  std::vector<int> leaders;
  for (const auto& [node, rank] : first_on) leaders.push_back(rank);
  std::sort(leaders.begin(), leaders.end());
  return leaders;
}

// Round-robin by the circle method: in each of `places - 1` rounds (places even) everybody meets one other.
int opponent(int place, int round, int places) {
  const int circle = places - 1;
  if (place == circle) return round;
  const int other = (2 * round - place + 2 * circle) % circle;
  return other == place ? circle : other;
}

absl::Status exchange(Communicator& world, int peer, absl::Duration timeout) {
  const at::Tensor out = at::zeros({kBytes}, at::kByte), in = at::empty({kBytes}, at::kByte);
  Work receiving = world.recv(in, peer, timeout);
  Work sending = world.send(out, peer, timeout);
  const absl::Status received = receiving.wait(), sent = sending.wait();
  return received.ok() ? sent : received;
}

}  // namespace

absl::StatusOr<PairTiming> check_pairs(Communicator& world, const std::string& host, absl::Duration timeout) {
  const std::vector<int> leaders = leaders_of(world);
  const auto found = std::find(leaders.begin(), leaders.end(), world.rank());
  PairTiming timing;
  if (found == leaders.end()) return timing;
  const int hosts = static_cast<int>(leaders.size());
  const int places = hosts + hosts % 2;

  std::string failures;
  for (int round = 0; round + 1 < places; ++round) {
    const int other = opponent(static_cast<int>(found - leaders.begin()), round, places);
    if (other >= hosts) continue;
    const int peer = leaders[other];
    // The peer may come late by the time-outs of its earlier rounds.
    absl::Status status = exchange(world, peer, timeout * (round + 1));
    const absl::Time start = absl::Now();
    if (status.ok()) status = exchange(world, peer, timeout);  // connections are up now: this one is timed
    if (!status.ok()) {
      absl::StrAppend(&failures, "\n", status.message());
      continue;
    }
    const absl::Duration taken = absl::Now() - start;
    if (timing.slowest_peer < 0 || taken > timing.slowest) timing = {peer, taken};
  }
  if (failures.empty()) return timing;
  return error(ErrorCategory::kCommunication, absl::StrCat("host ", host, " (rank ", world.rank(),
                                                           ") cannot exchange messages with another host; check "
                                                           "firewalls, and that MPI uses an interface that joins them:",
                                                           failures));
}

}  // namespace switchyard
