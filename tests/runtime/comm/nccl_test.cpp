// The NCCL communicator over a stand-in for nccl.h (tests/support/nccl_stand_in): what every backend must do, how calls
// are grouped, and how failures come back. Host tensors are the stand-in's device tensors.
#include <map>
#include <mutex>
#include <set>

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <absl/time/clock.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "runtime/comm/host_communicator.h"
#include "runtime/comm/nccl_communicator.h"
#include "runtime/comm/wire_observer.h"
#include "tests/runtime/comm/bodies.h"
#include "tests/support/nccl_stand_in/host_queue.h"
#include "tests/support/nccl_stand_in/nccl_stand_in.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

void run_over_nccl(int ranks, const std::function<void(Communicator& world)>& body) {
  run_ranks(ranks, [&](Communicator& host) {
    const auto world = value_or_throw(NcclCommunicator::create(host, make_host_queue, absl::Minutes(1)));
    body(*world);
    throw_if_error(host.barrier().wait());  // no rank leaves while others still need it
  });
}

// Not these: sends before receives wait for each other on one queue, NCCL does not tell who is late, and does not
// notice counts that differ. Tests of their own follow.
std::vector<Body> common_bodies() {
  const std::set<std::string> others = {"send_and_recv", "late_peer_is_named", "other_sizes_are_errors"};
  std::vector<Body> result;
  for (const Body& body : bodies()) {
    if (others.count(body.name) == 0) result.push_back(body);
  }
  return result;
}

class OverNccl : public testing::TestWithParam<std::tuple<Body, int>> {};

TEST_P(OverNccl, Runs) {
  run_over_nccl(std::get<int>(GetParam()), std::get<Body>(GetParam()).run);
}

INSTANTIATE_TEST_SUITE_P(Bodies, OverNccl,
                         testing::Combine(testing::ValuesIn(common_bodies()), testing::Values(1, 2, 3, 4)),
                         [](const auto& instance) {
                           return std::get<Body>(instance.param).name + "_" +
                                  std::to_string(std::get<int>(instance.param));
                         });

TEST(Nccl, WaitingIsASpan) {
  run_over_nccl(2, [](Communicator& world) {
    static thread_local int waits;
    waits = 0;
    const auto count = [](const at::RecordFunction& span) -> std::unique_ptr<at::ObserverContext> {
      waits += span.name() == std::string("wait");
      return nullptr;
    };
    const auto handle =
        at::addThreadLocalCallback(at::RecordFunctionCallback(count).scopes({at::RecordScope::USER_SCOPE}));
    Work work = world.all_reduce(at::ones({3}), ReduceOp::kSum);
    EXPECT_EQ(waits, 0);
    throw_if_error(work.wait());
    at::removeCallback(handle);
    EXPECT_EQ(waits, 1);
  });
}

TEST(Nccl, AllToAllIsOneGroupOfWhatIsNotEmpty) {
  run_over_nccl(3, [](Communicator& world) {
    // Rank r sends r rows of 8 bytes to the next rank, none to the one before, two to itself.
    const int me = world.rank(), next = (me + 1) % 3, before = (me + 2) % 3;
    std::vector<int64_t> sent(3), received(3);
    sent[me] = received[me] = 2;
    sent[next] = me;
    received[before] = before;
    const at::Tensor send = at::full({2 + me}, me, at::kLong), recv = at::empty({2 + before}, at::kLong);
    (void)nccl_stand_in::take_groups();
    throw_if_error(world.all_to_all(send, sent, recv, received).wait());
    const std::vector<nccl_stand_in::Group> groups = nccl_stand_in::take_groups();
    ASSERT_EQ(groups.size(), 1u);
    EXPECT_EQ(groups[0].sends.size(), me == 0 ? 0u : 1u);
    EXPECT_EQ(groups[0].receives.size(), before == 0 ? 0u : 1u);
    if (me > 0) {
      EXPECT_THAT(groups[0].sends, ElementsAre(Pair(next, 8u * static_cast<size_t>(me))));
    }
    if (before > 0) {
      EXPECT_THAT(groups[0].receives, ElementsAre(Pair(before, 8u * static_cast<size_t>(before))));
    }
    EXPECT_EQ(recv.eq(me).sum().item<int64_t>(), 2);
  });
}

TEST(Nccl, SendsMeetReceivesInTheOrderOfCalls) {
  run_over_nccl(2, [](Communicator& world) {
    for (int round = 0; round < 3; ++round) {
      const at::Tensor mine = at::full({100}, 10.0 * world.rank() + round), other = at::empty({100});
      Work first = world.rank() == 0 ? world.send(mine, 1) : world.recv(other, 0);
      Work second = world.rank() == 0 ? world.recv(other, 1) : world.send(mine, 0);
      throw_if_error(second.wait());
      throw_if_error(first.wait());
      EXPECT_TRUE((other == 10 * (1 - world.rank()) + round).all().item<bool>());
    }
  });
}

TEST(Nccl, WhoObservesTheHostsWiresIsToldWhatIsSent) {
  const auto body = [](Communicator& host) {
    std::mutex mutex;
    std::map<std::string, SentBytes> sent;
    dynamic_cast<HostCommunicator&>(host).observe([&](const FinishedOperation& done) {
      const std::lock_guard lock(mutex);
      sent[done.label.group + " " + done.label.operation] = {done.node_bytes, done.remote_bytes};
    });
    {
      const auto world = value_or_throw(NcclCommunicator::create(host, make_host_queue, absl::Minutes(1)));
      const auto part = value_or_throw(world->split(0, world->rank(), "part"));
      const at::Tensor send = at::ones({6, 3}, at::kFloat), recv = at::empty({6, 3}, at::kFloat);
      const std::vector<int64_t> rows{2, 2, 2};
      throw_if_error(part->all_to_all(send, rows, recv, rows).wait());
      throw_if_error(host.barrier().wait());
    }
    dynamic_cast<HostCommunicator&>(host).observe(nullptr);
    const bool alone = host.rank() == 2;  // on its host
    EXPECT_EQ(sent.at("part all_to_all").node, alone ? 0 : 2 * 3 * 4);
    EXPECT_EQ(sent.at("part all_to_all").remote, alone ? 2 * 2 * 3 * 4 : 2 * 3 * 4);
  };
  run_ranks(3, body, {.timeout = absl::Minutes(1), .nodes = {0, 0, 1}});
}

TEST(Nccl, ATimeoutNamesTheCallAndEndsTheGroup) {
  run_over_nccl(3, [](Communicator& world) {
    const auto group = value_or_throw(world.split(0, world.rank(), "doomed"));
    throw_if_error(group->all_reduce(at::ones({4}), ReduceOp::kSum).wait());
    if (world.rank() != 2) {
      const at::Tensor values = at::ones({100'000});
      const absl::Status status = group->all_reduce(values, ReduceOp::kSum, absl::Milliseconds(300)).wait();
      ASSERT_FALSE(status.ok());
      EXPECT_EQ(error_category(status), ErrorCategory::kCommunication);
      for (const std::string& part :
           {"rank " + std::to_string(world.rank()) + " of 3 in group 'doomed'",
            std::string("all_reduce #1 called at runtime/comm/nccl_test.cpp:"), std::string("timed out after 300ms")}) {
        EXPECT_THAT(std::string(status.message()), HasSubstr(part));
      }
      // What follows fails at once, for the same reason.
      const absl::Time start = absl::Now();
      EXPECT_EQ(group->all_reduce(values, ReduceOp::kSum).wait().message(), status.message());
      EXPECT_LT(absl::Now() - start, absl::Seconds(10));
    }
    throw_if_error(world.barrier().wait());
    throw_if_error(world.all_reduce(at::ones({4}), ReduceOp::kSum).wait());  // other groups live on
  });
}

// The stand-in reports counts that differ the way NCCL reports a broken wire: later, by ncclCommGetAsyncError.
TEST(Nccl, WhatNcclReportsLaterComesBackFromTheWait) {
  run_over_nccl(2, [](Communicator& world) {
    const auto group = value_or_throw(world.split(0, world.rank(), "broken"));
    const at::Tensor values = at::ones({world.rank() == 0 ? 2 : 3});
    if (world.rank() == 0) {
      (void)group->send(values, 1).wait();
    } else {
      Work work = group->recv(values, 0);
      absl::Status status;
      const absl::Time give_up = absl::Now() + absl::Minutes(1);
      while (status.ok() && absl::Now() < give_up) status = work.wait();
      EXPECT_EQ(error_category(status), ErrorCategory::kCommunication);
      EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1 of 2 in group 'broken'"));
      EXPECT_THAT(std::string(status.message()), HasSubstr("invalid usage"));
    }
    throw_if_error(world.barrier().wait());
  });
}

TEST(Nccl, NoRankStartsWhereTheFirstCannot) {
  nccl_stand_in::set_unique_id_result(ncclSystemError);
  run_ranks(2, [](Communicator& host) {
    const auto world = NcclCommunicator::create(host, make_host_queue, absl::Minutes(1));
    EXPECT_EQ(error_category(world.status()), ErrorCategory::kUnavailable);
    EXPECT_THAT(std::string(world.status().message()), HasSubstr("NCCL does not start: ncclGetUniqueId"));
  });
  nccl_stand_in::set_unique_id_result(ncclSuccess);
}

TEST(Nccl, ARankThatDoesNotComeIsWaitedForWithALimit) {
  run_ranks(1, [](Communicator& host) {
    ncclUniqueId id;
    ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
    ncclConfig_t config{0};
    ncclComm_t comm = nullptr;
    ASSERT_EQ(ncclCommInitRankConfig(&comm, 2, id, 0, &config), ncclInProgress);
    NcclGroup group(comm, {0, 2}, "lonely", make_host_queue());
    EXPECT_EQ(error_category(group.settle(absl::Milliseconds(100))), ErrorCategory::kCommunication);
    throw_if_error(host.barrier().wait());
  });
}

}  // namespace
}  // namespace switchyard
