// A token's row goes once to every domain that holds experts of it, and from the rank that takes it there to the
// experts; results are summed within the domain first, so that one row a token and domain comes back (DeepEP's
// hierarchical all-to-all; https://github.com/deepseek-ai/DeepEP). Domains are hosts, or single ranks.
//
// Two levels, each a plan with its own backward: between domains one row a (token, domain) over the whole dispatch
// group; within a domain a dispatcher of its own, over ids of the domain's experts. Slots and weights of the rows
// travel before them, and the gradients of the weights back.
//
// The rows of an expert are in the order of global tokens where domains are ranks, else by the rank that handed them
// on. Sums over slots are rounded once a domain, so results agree with the other dispatchers to rounding, not bit by
// bit.
#pragma once

#include <memory>
#include <vector>

#include "parallel/dispatch/dispatcher.h"
#include "parallel/dispatch/domains.h"
#include "parallel/topology/placement.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/shared_memory.h"

namespace switchyard {

class HierarchicalDispatcher : public Dispatcher {
 public:
  // `group` as in AllToAllDispatcher; it and `node`, its ranks on this host, are borrowed, also by the plans. The ranks
  // that share an expert must be on one host. `memory`: of the ranks of `node`; null: none.
  static std::unique_ptr<HierarchicalDispatcher> over_nodes(Communicator& group, Communicator& node,
                                                            const Placement& placement, int expert_tensor,
                                                            const SharedMemory* memory);
  static std::unique_ptr<HierarchicalDispatcher> over_ranks(Communicator& group, const Placement& placement,
                                                            int expert_tensor);

  std::vector<std::shared_ptr<const DispatchPlan>> plan(std::span<const Routing> chunks) override;
  Dispatched begin_dispatch(const at::Tensor& x_TD, const std::shared_ptr<const DispatchPlan>& plan) override;
  Dispatched end_dispatch(const Dispatched& begun) override;
  at::Tensor begin_combine(const at::Tensor& y_RD, const std::shared_ptr<const DispatchPlan>& plan) override;
  at::Tensor end_combine(const at::Tensor& begun, const std::shared_ptr<const DispatchPlan>& plan) override;

 private:
  HierarchicalDispatcher(Communicator& group, const Domains& domains, const Placement& placement, int expert_tensor);

  Communicator& group_;
  const std::vector<std::vector<int>> gateways_;  // of each expert, as gateways_of has them
  const DomainExperts experts_;
  std::unique_ptr<Dispatcher> within_;
};

}  // namespace switchyard
