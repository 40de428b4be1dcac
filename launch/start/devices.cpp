#include "launch/start/devices.h"

#include <array>
#include <map>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>
#include <unistd.h>

#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"
#include "runtime/comm/nccl.h"

namespace switchyard {
namespace {

constexpr char kSeparator = '\x1f';

// Among the ranks of the same host, in rank order.
int local_rank(const Communicator& world) {
  int place = 0;
  for (int rank = 0; rank < world.rank(); ++rank) place += world.node_of(rank) == world.node_of(world.rank());
  return place;
}

std::string own_host() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string("unknown");
}

absl::StatusOr<std::vector<RankDevice>> gather_devices(const ChosenDevice& mine, Communicator& world) {
  const std::string text = absl::StrJoin({own_host(), mine.description, mine.id}, std::string(1, kSeparator));
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> texts, all_gather_texts(world, text));
  std::vector<RankDevice> ranks;
  for (const std::string& told : texts) {
    const std::vector<std::string> fields = absl::StrSplit(told, kSeparator);
    ranks.push_back({fields.at(0), fields.at(1), fields.at(2)});
  }
  return ranks;
}

}  // namespace

absl::Status check_devices(const std::vector<RankDevice>& ranks) {
  std::map<std::string, std::vector<size_t>> users;
  for (size_t rank = 0; rank < ranks.size(); ++rank) users[ranks[rank].id].push_back(rank);
  const auto on_cpu = users.find("");
  if (on_cpu != users.end() && on_cpu->second.size() < ranks.size()) {
    const size_t first = on_cpu->second.front();
    return error(ErrorCategory::kUnavailable,
                 absl::StrCat("rank ", first, " on host ", ranks[first].host,
                              " has no CUDA device, but other ranks have; start ranks only where there are devices, or "
                              "use run.device=cpu"));
  }
  for (const auto& [id, sharers] : users) {
    if (id.empty() || sharers.size() == 1) continue;
    const RankDevice& device = ranks[sharers.front()];
    return error(ErrorCategory::kUnavailable,
                 absl::StrCat("ranks ", absl::StrJoin(sharers, ", "), " on host ", device.host, " share one device (",
                              device.description,
                              "); start no more ranks on a host than it has devices, or use run.device=cpu"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ChosenDevice> choose_rank_device(std::string_view wanted, Communicator& world) {
  SY_ASSIGN_OR_RETURN(ChosenDevice mine, agree(world, choose_device(wanted, local_rank(world))));
  SY_ASSIGN_OR_RETURN(const std::vector<RankDevice> ranks, gather_devices(mine, world));
  SY_RETURN_IF_ERROR(agree(world, check_devices(ranks)));
  return mine;
}

absl::StatusOr<std::unique_ptr<Communicator>> connect_devices(const ChosenDevice& device, Communicator& world,
                                                              absl::Duration timeout) {
  if (device.device.is_cpu()) return nullptr;
  return agree(world, make_nccl_world(world, timeout));
}

}  // namespace switchyard
