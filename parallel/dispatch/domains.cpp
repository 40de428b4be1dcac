#include "parallel/dispatch/domains.h"

#include <algorithm>
#include <map>
#include <numeric>

#include <ATen/ATen.h>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

Domains partition(std::span<const int> labels) {
  Domains domains;
  std::map<int, int> number_of;
  for (size_t rank = 0; rank < labels.size(); ++rank) {
    const int domain = number_of.try_emplace(labels[rank], static_cast<int>(number_of.size())).first->second;
    if (domain == static_cast<int>(domains.ranks_of.size())) domains.ranks_of.emplace_back();
    domains.of.push_back(domain);
    domains.ranks_of[domain].push_back(static_cast<int>(rank));
  }
  return domains;
}

int place_in(const std::vector<int>& ranks, int rank) {
  return static_cast<int>(std::lower_bound(ranks.begin(), ranks.end(), rank) - ranks.begin());
}

std::vector<int64_t> joined(const std::vector<std::vector<int64_t>>& pieces) {
  std::vector<int64_t> all;
  for (const std::vector<int64_t>& piece : pieces) all.insert(all.end(), piece.begin(), piece.end());
  return all;
}

}  // namespace

Domains Domains::by_rank(int ranks) {
  std::vector<int> labels(ranks);
  std::iota(labels.begin(), labels.end(), 0);
  return partition(labels);
}

Domains Domains::by_node(const Communicator& group) {
  std::vector<int> labels;
  for (int rank = 0; rank < group.size(); ++rank) labels.push_back(group.node_of(rank));
  return partition(labels);
}

int Domains::gateway(int source, int domain) const {
  const std::vector<int>& ranks = ranks_of[domain];
  return ranks[place_in(ranks_of[of[source]], source) % ranks.size()];
}

bool Domains::keep_together(int expert_tensor) const {
  for (size_t rank = 0; rank < of.size(); ++rank) {
    if (of[rank] != of[rank / expert_tensor * expert_tensor]) return false;
  }
  return true;
}

DomainExperts DomainExperts::find(const Domains& domains, int rank, const Placement& placement, int expert_tensor) {
  const std::vector<int>& ranks = domains.ranks_of[domains.of[rank]];
  std::vector<int> holders;  // places along the expert axis, ascending
  for (const int r : ranks) {
    if (holders.empty() || holders.back() != r / expert_tensor) holders.push_back(r / expert_tensor);
  }
  DomainExperts result;
  result.local.assign(placement.experts, -1);
  for (const int holder : holders) {
    const std::vector<int64_t>& held = placement.experts_of[holder];
    result.global.insert(result.global.end(), held.begin(), held.end());
  }
  std::sort(result.global.begin(), result.global.end());
  result.placement.experts = static_cast<int64_t>(result.global.size());
  result.placement.experts_of.resize(holders.size());
  for (size_t i = 0; i < result.global.size(); ++i) {
    const int64_t id = static_cast<int64_t>(i);
    const int owner = place_in(holders, placement.owner[result.global[i]]);
    result.local[result.global[i]] = id;
    result.placement.owner.push_back(owner);
    result.placement.experts_of[owner].push_back(id);
  }
  return result;
}

std::vector<std::vector<int>> gateways_of(const Domains& domains, int rank, const Placement& placement,
                                          int expert_tensor) {
  std::vector<std::vector<int>> gateways(placement.experts);
  for (int64_t e = 0; e < placement.experts; ++e) {
    for (int c = 0; c < expert_tensor; ++c) {
      const int to = domains.gateway(rank, domains.of[placement.owner[e] * expert_tensor + c]);
      if (std::find(gateways[e].begin(), gateways[e].end(), to) == gateways[e].end()) gateways[e].push_back(to);
    }
  }
  return gateways;
}

std::vector<int64_t> Outgoing::message_sizes() const {
  std::vector<int64_t> sizes(rows.size());
  std::transform(rows.begin(), rows.end(), slots.begin(), sizes.begin(), std::plus<>());
  return sizes;
}

Outgoing Outgoing::list(const Routing& routing, const std::vector<std::vector<int>>& gateways, int ranks) {
  const at::Tensor offsets_host = routing.offsets.cpu().contiguous(), experts_host = routing.experts.cpu().contiguous();
  const int64_t tokens = offsets_host.numel() - 1;
  const int64_t* offsets = offsets_host.const_data_ptr<int64_t>();
  const int64_t* experts = experts_host.const_data_ptr<int64_t>();

  std::vector<std::vector<int64_t>> messages(ranks), orders(ranks);
  std::vector<int64_t> latest_token(ranks, -1);
  std::vector<size_t> head(ranks);  // of the latest row in its message
  Outgoing out;
  out.slots_of_tokens = experts_host.numel();
  out.rows.assign(ranks, 0);
  out.slots.assign(ranks, 0);
  std::vector<int64_t> row_offsets{0}, row_gateways;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t s = offsets[t]; s < offsets[t + 1]; ++s) {
      for (const int to : gateways[experts[s]]) {
        if (latest_token[to] != t) {
          latest_token[to] = t;
          head[to] = messages[to].size();
          messages[to].push_back(0);
          row_gateways.push_back(to);
          ++out.rows[to];
        }
        ++messages[to][head[to]];
        messages[to].push_back(experts[s]);
        orders[to].push_back(s);
        ++out.slots[to];
      }
    }
    row_offsets.push_back(static_cast<int64_t>(row_gateways.size()));
  }
  out.offsets = at::tensor(row_offsets, at::kLong);
  out.gateways = at::tensor(row_gateways, at::kLong);
  out.message = joined(messages);
  out.slot_order = joined(orders);
  return out;
}

Routing routing_of(std::span<const int64_t> message, int64_t rows, int64_t slots, const DomainExperts& experts) {
  SY_CHECK_EQ(static_cast<int64_t>(message.size()), rows + slots);
  Routing routing{.offsets = at::empty({rows + 1}, at::kLong), .experts = at::empty({slots}, at::kLong), .weights = {}};
  auto* offsets = routing.offsets.mutable_data_ptr<int64_t>();
  auto* ids = routing.experts.mutable_data_ptr<int64_t>();
  size_t at = 0;
  int64_t slot = 0;
  offsets[0] = 0;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t left = message[at++]; left > 0; --left) {
      const int64_t id = experts.local[message[at++]];
      SY_CHECK(id >= 0);
      ids[slot++] = id;
    }
    offsets[row + 1] = slot;
  }
  SY_CHECK_EQ(slot, slots);
  return routing;
}

}  // namespace switchyard
