// Which rows, slots and experts travel between domains, by hand.
#include "parallel/dispatch/domains.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/ranks.h"

namespace switchyard {
namespace {

using Numbers = std::vector<int64_t>;

Domains nodes(const std::vector<int>& of) {
  Domains domains;
  run_ranks(static_cast<int>(of.size()),
            [&](Communicator& world) {
              if (world.rank() == 0) domains = Domains::by_node(world);
            },
            {.timeout = absl::Minutes(1), .nodes = of});
  return domains;
}

Routing routing(const Numbers& offsets, const Numbers& experts) {
  return {.offsets = at::tensor(offsets, at::kLong), .experts = at::tensor(experts, at::kLong), .weights = {}};
}

Numbers numbers(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<int64_t>(), tensor.const_data_ptr<int64_t>() + tensor.numel()};
}

TEST(Domains, AreNumberedAsTheirFirstRanks) {
  const Domains domains = nodes({5, 2, 5, 2, 2});
  EXPECT_EQ(domains.of, (std::vector<int>{0, 1, 0, 1, 1}));
  EXPECT_EQ(domains.ranks_of, (std::vector<std::vector<int>>{{0, 2}, {1, 3, 4}}));
}

TEST(Domains, GatewaysAreAtTheSamePlaceAsFarAsThereIsOne) {
  const Domains domains = nodes({0, 1, 0, 1, 1});
  EXPECT_EQ(domains.gateway(2, 1), 3);
  EXPECT_EQ(domains.gateway(2, 0), 2);  // itself, at home
  EXPECT_EQ(domains.gateway(4, 0), 0);  // third of three → first of two
  EXPECT_EQ(domains.gateway(4, 1), 4);
}

TEST(Domains, KeepSharedExpertsTogetherOrNot) {
  EXPECT_TRUE(nodes({0, 0, 1, 1}).keep_together(2));
  EXPECT_FALSE(nodes({0, 1, 1, 0}).keep_together(2));
  EXPECT_FALSE(Domains::by_rank(2).keep_together(2));
  EXPECT_TRUE(Domains::by_rank(2).keep_together(1));
}

TEST(DomainExperts, AreThoseOfItsRanksUnderIdsOfTheirOwn) {
  // The second host has ranks 1 and 3.
  const Placement placement = Placement::contiguous(7, 4);
  ASSERT_EQ(placement.experts_of, (std::vector<Numbers>{{0}, {1, 2}, {3, 4}, {5, 6}}));
  const DomainExperts experts = DomainExperts::find(nodes({0, 1, 0, 1}), 3, placement, 1);
  EXPECT_EQ(experts.global, (Numbers{1, 2, 5, 6}));
  EXPECT_EQ(experts.local, (Numbers{-1, 0, 1, -1, -1, 2, 3}));
  EXPECT_EQ(experts.placement.experts_of, (std::vector<Numbers>{{0, 1}, {2, 3}}));
  EXPECT_EQ(experts.placement.owner, (std::vector<int>{0, 0, 1, 1}));
}

TEST(Outgoing, HasOneRowForATokenAndDomain) {
  // Two hosts of two ranks with one expert each. Token 0 goes to experts 3, 0 and 2, token 1 nowhere, token 2 to 1.
  const Domains domains = nodes({0, 0, 1, 1});
  const Outgoing out =
      Outgoing::list(routing({0, 3, 3, 4}, {3, 0, 2, 1}), gateways_of(domains, 1, Placement::contiguous(4, 4), 1), 4);
  EXPECT_EQ(numbers(out.offsets), (Numbers{0, 2, 2, 3}));
  EXPECT_EQ(numbers(out.gateways), (Numbers{3, 1, 1}));
  EXPECT_EQ(out.rows, (Numbers{0, 2, 0, 1}));
  EXPECT_EQ(out.slots, (Numbers{0, 2, 0, 2}));
  EXPECT_EQ(out.message, (Numbers{1, 0, 1, 1, 2, 3, 2}));
  EXPECT_EQ(out.message_sizes(), (Numbers{0, 4, 0, 3}));
  EXPECT_EQ(out.slot_order, (Numbers{1, 3, 0, 2}));
}

TEST(Outgoing, SendsASlotToEveryRankThatSharesItsExpert) {
  const Outgoing out =
      Outgoing::list(routing({0, 2}, {1, 0}), gateways_of(Domains::by_rank(4), 0, Placement::contiguous(2, 2), 2), 4);
  EXPECT_EQ(out.rows, (Numbers{1, 1, 1, 1}));
  EXPECT_EQ(numbers(out.gateways), (Numbers{2, 3, 0, 1}));
  EXPECT_EQ(out.slot_order, (Numbers{1, 1, 0, 0}));
  EXPECT_EQ(out.slots_of_tokens, 2);
}

TEST(Outgoing, IsReadAsARoutingOverTheDomainsExperts) {
  const DomainExperts experts = DomainExperts::find(nodes({0, 0, 1, 1}), 3, Placement::contiguous(4, 4), 1);
  const Routing read = routing_of(Numbers{2, 3, 2, 1, 2}, 2, 3, experts);
  EXPECT_EQ(numbers(read.offsets), (Numbers{0, 2, 3}));
  EXPECT_EQ(numbers(read.experts), (Numbers{1, 0, 0}));
}

}  // namespace
}  // namespace switchyard
