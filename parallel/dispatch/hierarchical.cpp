#include "parallel/dispatch/hierarchical.h"

#include "parallel/dispatch/all_to_all.h"
#include "parallel/dispatch/arrived_weights.h"
#include "parallel/dispatch/domain_exchange.h"
#include "parallel/dispatch/local.h"
#include "parallel/dispatch/row_exchange.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

struct HierarchicalPlan : DispatchPlan {
  std::shared_ptr<const DomainExchange> between;
  std::shared_ptr<const DispatchPlan> within;
};

}  // namespace

HierarchicalDispatcher::HierarchicalDispatcher(Communicator& group, const Domains& domains, const Placement& placement,
                                               int expert_tensor)
    : group_(group),
      gateways_(gateways_of(domains, group.rank(), placement, expert_tensor)),
      experts_(DomainExperts::find(domains, group.rank(), placement, expert_tensor)) {
  SY_CHECK_EQ(static_cast<size_t>(group.size()), placement.experts_of.size() * expert_tensor);
}

std::unique_ptr<HierarchicalDispatcher> HierarchicalDispatcher::over_nodes(Communicator& group, Communicator& node,
                                                                           const Placement& placement,
                                                                           int expert_tensor,
                                                                           const SharedMemory* memory) {
  const Domains domains = Domains::by_node(group);
  SY_CHECK(domains.keep_together(expert_tensor));
  SY_CHECK_EQ(static_cast<size_t>(node.size()), domains.ranks_of[domains.of[group.rank()]].size());
  std::unique_ptr<HierarchicalDispatcher> result(new HierarchicalDispatcher(group, domains, placement, expert_tensor));
  result->within_ = std::make_unique<AllToAllDispatcher>(node, result->experts_.placement, expert_tensor, node, memory);
  return result;
}

std::unique_ptr<HierarchicalDispatcher> HierarchicalDispatcher::over_ranks(Communicator& group,
                                                                           const Placement& placement,
                                                                           int expert_tensor) {
  std::unique_ptr<HierarchicalDispatcher> result(
      new HierarchicalDispatcher(group, Domains::by_rank(group.size()), placement, expert_tensor));
  result->within_ = std::make_unique<LocalDispatcher>(result->experts_.placement.experts);
  return result;
}

std::vector<std::shared_ptr<const DispatchPlan>> HierarchicalDispatcher::plan(std::span<const Routing> chunks) {
  std::vector<Outgoing> outgoing;
  for (const Routing& chunk : chunks) outgoing.push_back(Outgoing::list(chunk, gateways_, group_.size()));
  const auto between = DomainExchange::plan(group_, std::move(outgoing), experts_, chunks.front().experts.device());
  std::vector<at::Tensor> weights;
  for (const Routing& chunk : chunks) weights.push_back(chunk.weights);
  weights = weights_of_arrived(group_, weights, between);
  std::vector<Routing> arrived;
  for (size_t i = 0; i < chunks.size(); ++i) {
    arrived.push_back(between[i]->arrived());
    arrived.back().weights = weights[i];
  }
  const auto within = within_->plan(arrived);
  std::vector<std::shared_ptr<const DispatchPlan>> plans;
  for (size_t i = 0; i < chunks.size(); ++i) {
    const auto both = std::make_shared<HierarchicalPlan>();
    both->between = between[i];
    both->within = within[i];
    plans.push_back(both);
  }
  return plans;
}

Dispatched HierarchicalDispatcher::begin_dispatch(const at::Tensor& x_TD,
                                                  const std::shared_ptr<const DispatchPlan>& plan) {
  return {begin_dispatch_rows(x_TD, static_cast<const HierarchicalPlan&>(*plan).between), {}, plan};
}

Dispatched HierarchicalDispatcher::end_dispatch(const Dispatched& begun) {
  const auto& both = static_cast<const HierarchicalPlan&>(*begun.plan);
  Dispatched sent = within_->dispatch(end_dispatch_rows(begun.rows_RD, both.between), both.within);
  return {std::move(sent.rows_RD), std::move(sent.counts), begun.plan};
}

at::Tensor HierarchicalDispatcher::begin_combine(const at::Tensor& y_RD,
                                                 const std::shared_ptr<const DispatchPlan>& plan) {
  const auto& both = static_cast<const HierarchicalPlan&>(*plan);
  return begin_combine_rows(within_->combine(y_RD, both.within), both.between);
}

at::Tensor HierarchicalDispatcher::end_combine(const at::Tensor& begun,
                                               const std::shared_ptr<const DispatchPlan>& plan) {
  return end_combine_rows(begun, static_cast<const HierarchicalPlan&>(*plan).between);
}

}  // namespace switchyard
