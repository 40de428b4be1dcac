#include "runtime/comm/loopback.h"

#include <map>
#include <mutex>

#include <ATen/ATen.h>
#include <absl/time/clock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/host_communicator.h"
#include "tests/runtime/comm/bodies.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

class OverLoopback : public testing::TestWithParam<std::tuple<Body, int>> {};

TEST_P(OverLoopback, Runs) {
  run_ranks(std::get<int>(GetParam()), std::get<Body>(GetParam()).run);
}

INSTANTIATE_TEST_SUITE_P(Bodies, OverLoopback,
                         testing::Combine(testing::ValuesIn(bodies()), testing::Values(1, 2, 3, 4, 7)),
                         [](const auto& instance) {
                           return std::get<Body>(instance.param).name + "_" +
                                  std::to_string(std::get<int>(instance.param));
                         });

TEST(Loopback, PretendsToRunOnSeveralNodes) {
  run_ranks(3,
            [](Communicator& world) {
              EXPECT_EQ(world.node_of(0), 0);
              EXPECT_EQ(world.node_of(2), 1);
              const auto reversed = value_or_throw(world.split(0, -world.rank(), "reversed"));
              EXPECT_EQ(reversed->node_of(0), 1);
            },
            {.timeout = absl::Minutes(1), .nodes = {0, 0, 1}});
}

TEST(Loopback, TellsAnObserverWhatWentOverTheWires) {
  run_ranks(3,
            [](Communicator& world) {
              std::mutex mutex;
              std::map<std::string, int64_t> bytes;
              dynamic_cast<HostCommunicator&>(world).observe([&](const FinishedOperation& done) {
                EXPECT_LE(done.begin_ns, done.end_ns);
                const std::lock_guard lock(mutex);
                const std::string name = done.label.group + " " + done.label.operation;
                bytes[name] += done.node_bytes;
                bytes[name + " far"] += done.remote_bytes;
              });
              {
                const auto part = world.split(0, world.rank(), "part");
                ASSERT_TRUE(part.ok()) << part.status();
                // Two rows of three numbers to each other rank; what stays is no traffic.
                const at::Tensor send = at::ones({6, 3}, at::kFloat), recv = at::empty({6, 3}, at::kFloat);
                const std::vector<int64_t> rows{2, 2, 2};
                ASSERT_TRUE((*part)->all_to_all(send, rows, recv, rows).wait().ok());
              }
              dynamic_cast<HostCommunicator&>(world).observe(nullptr);
              ASSERT_TRUE(world.barrier().wait().ok());
              const std::lock_guard lock(mutex);
              const bool alone = world.rank() == 2;  // on its host
              EXPECT_EQ(bytes.at("part all_to_all"), alone ? 0 : 2 * 3 * 4);
              EXPECT_EQ(bytes.at("part all_to_all far"), alone ? 2 * 2 * 3 * 4 : 2 * 3 * 4);
              EXPECT_TRUE(bytes.contains("world all_gather"));  // of split
              EXPECT_FALSE(bytes.contains("world barrier"));
            },
            {.nodes = {0, 0, 1}});
}

TEST(Loopback, RefusesWhatCannotBeReduced) {
  Loopback alone(1);
  EXPECT_THROW((void)alone.rank(0).all_reduce(at::ones({2}, at::kBool), ReduceOp::kSum), CheckError);
  EXPECT_THROW((void)alone.rank(0).all_reduce(at::ones({2, 3}).t(), ReduceOp::kSum), CheckError);
}

TEST(Loopback, ATimeoutMayMeanNever) {
  run_ranks(2,
            [](Communicator& world) {
              if (world.rank() == 0) absl::SleepFor(absl::Milliseconds(50));
              throw_if_error(world.barrier().wait());
            },
            {.timeout = absl::InfiniteDuration(), .nodes = {}});
}

// Whoever falls, the others must not wait for it: without the abort they would sit here for the time-out's two minutes.
TEST(RunRanks, AnExceptionInOneRankEndsTheOthers) {
  const absl::Time start = absl::Now();
  EXPECT_NONFATAL_FAILURE_ON_ALL_THREADS(run_ranks(3,
                                                   [](Communicator& world) {
                                                     if (world.rank() == 1) throw std::runtime_error("rank one fell");
                                                     throw_if_error(world.barrier().wait());
                                                   }),
                                         "rank 1: rank one fell");
  EXPECT_LT(absl::Now() - start, absl::Minutes(1));
}

}  // namespace
}  // namespace switchyard
