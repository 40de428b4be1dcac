// Ranks grouped into domains, and what a rank sends to each when a token's row goes to a domain once, however many of
// its experts are there: arithmetic on the host, without communication.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/dispatch/dispatcher.h"
#include "parallel/topology/placement.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// A partition of the ranks of a dispatch group.
struct Domains {
  std::vector<int> of;                     // [ranks]
  std::vector<std::vector<int>> ranks_of;  // per domain, ascending

  static Domains by_rank(int ranks);                  // every rank is one
  static Domains by_node(const Communicator& group);  // every host is one

  // The rank of `domain` that takes the rows of `source` for all of it: the one at the same place among its domain's
  // ranks, as far as there is one. In its own domain a rank is its own gateway.
  int gateway(int source, int domain) const;
  // Whether ranks that share experts are in one domain, each with all the others.
  bool keep_together(int expert_tensor) const;
};

// The experts of a domain under ids of its own, ascending as the global ones are.
struct DomainExperts {
  std::vector<int64_t> global;  // global id of each
  std::vector<int64_t> local;   // [experts] id in the domain, −1 where it has none
  Placement placement;          // of the domain's ids over its ranks / expert_tensor; over one rank where by_rank

  static DomainExperts find(const Domains& domains, int rank, const Placement& placement, int expert_tensor);
};

// Of each expert, the gateways of `rank` to the domains that hold it or, with expert_tensor > 1, a part of it.
std::vector<std::vector<int>> gateways_of(const Domains& domains, int rank, const Placement& placement,
                                          int expert_tensor);

// What one rank sends. "Row": a token for one domain. Rows for one gateway are in token order.
struct Outgoing {
  at::Tensor offsets;                // int64 [T+1], rows of token t
  at::Tensor gateways;               // int64 [M], the rank that each row goes to
  std::vector<int64_t> rows, slots;  // to each rank
  std::vector<int64_t> message;      // by rank, for each row: the number of its slots, then their global experts
  std::vector<int64_t> slot_order;   // by rank, this rank's slots in the order of the message
  int64_t slots_of_tokens = 0;       // N; a slot is in slot_order once for each domain that shares its expert

  std::vector<int64_t> message_sizes() const;  // to each rank
  // `gateways`: as gateways_of gives them, of `ranks` ranks.
  static Outgoing list(const Routing& routing, const std::vector<std::vector<int>>& gateways, int ranks);
};

// The slots of rows that arrived with `message`, as a routing over the domain's experts; without weights.
Routing routing_of(std::span<const int64_t> message, int64_t rows, int64_t slots, const DomainExperts& experts);

}  // namespace switchyard
