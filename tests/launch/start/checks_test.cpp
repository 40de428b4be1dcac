#include "launch/start/checks.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Two ranks on each host, alike in everything.
std::vector<RankFacts> ranks_alike(int ranks) {
  std::vector<RankFacts> facts(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    facts[rank].host = rank / 2 == 0 ? "anna" : rank / 2 == 1 ? "bert" : "carl";
    facts[rank].node = rank / 2;
    facts[rank].binding = {"0-3", 4};
    facts[rank].device = "cpu";
    facts[rank].build = "1.0 abc";
    facts[rank].config_hash = "c0ffee";
    facts[rank].clock = absl::FromUnixSeconds(1'700'000'000);
  }
  return facts;
}

std::string message_of(const absl::Status& status) {
  return std::string(status.message());
}

TEST(Who, NamesRanksAndTheirHosts) {
  const auto facts = ranks_alike(6);
  EXPECT_EQ(who(facts, {3}), "rank 3 on host bert");
  EXPECT_EQ(who(facts, {0, 1, 2, 5}), "ranks 0-2, 5 on hosts anna, bert, carl");
}

TEST(CheckBuilds, NamesThoseThatDiffer) {
  auto facts = ranks_alike(6);
  EXPECT_TRUE(check_builds(facts).ok());
  facts[2].build = facts[3].build = "1.0 xyz";
  const absl::Status status = check_builds(facts);
  EXPECT_EQ(error_category(status), ErrorCategory::kUnavailable);
  EXPECT_THAT(message_of(status), HasSubstr("ranks 0-1, 4-5 on hosts anna, carl: 1.0 abc"));
  EXPECT_THAT(message_of(status), HasSubstr("ranks 2-3 on host bert: 1.0 xyz"));
}

TEST(CheckConfigs, ShowsWhereTheyPart) {
  run_ranks(4, [](Communicator& world) {
    auto facts = ranks_alike(4);
    facts[2].config_hash = facts[3].config_hash = "other";
    const std::string config = world.rank() < 2 ? "run:\n  seed: 1\n" : "run:\n  seed: 2\n";
    const absl::Status status = check_configs(world, facts, config);
    EXPECT_EQ(error_category(status), ErrorCategory::kBadConfig);
    EXPECT_THAT(message_of(status),
                HasSubstr("ranks 2-3 on host bert: 'seed: 2', but ranks 0-1 on host anna: 'seed: 1'"));
    EXPECT_TRUE(check_configs(world, ranks_alike(4), config).ok());
  });
}

TEST(CheckClocks, NamesTheOneThatIsOff) {
  auto facts = ranks_alike(5);
  facts[0].clock += absl::Seconds(3);
  EXPECT_TRUE(check_clocks(facts, absl::Seconds(5)).ok());
  facts[4].clock -= absl::Seconds(90);
  const absl::Status status = check_clocks(facts, absl::Seconds(5));
  EXPECT_EQ(error_category(status), ErrorCategory::kUnavailable);
  EXPECT_THAT(message_of(status), HasSubstr("rank 4 on host carl: 1m30s behind"));
  EXPECT_THAT(message_of(status), Not(HasSubstr("rank 0 ")));
}

TEST(CheckRunFolder, IsMadeAndSeenByAll) {
  const TemporaryFolder folder;
  run_ranks(3, [&](Communicator& world) {
    const auto status = check_run_folder(world, ranks_alike(3), folder / "runs/first", absl::Seconds(30));
    EXPECT_TRUE(status.ok()) << status;
  });
  EXPECT_TRUE(std::filesystem::is_empty(folder / "runs/first"));
}

TEST(CheckRunFolder, NamesHostsThatDoNotSeeIt) {
  const TemporaryFolder folder;
  run_ranks(4, [&](Communicator& world) {
    const std::string name = world.rank() < 2 ? "shared" : "elsewhere";
    const auto status = check_run_folder(world, ranks_alike(4), folder / name, absl::Milliseconds(200));
    EXPECT_EQ(error_category(status), ErrorCategory::kBadConfig);
    EXPECT_THAT(message_of(status), HasSubstr("ranks 2-3 on host bert cannot see what rank 0 on host anna wrote"));
  });
}

TEST(CheckRunFolder, WhatCannotBeWrittenFailsOnAllRanks) {
  const TemporaryFolder folder;
  std::ofstream(folder / "file") << "in the way";
  run_ranks(2, [&](Communicator& world) {
    const auto status = check_run_folder(world, ranks_alike(2), folder / "file/run", absl::Seconds(30));
    EXPECT_EQ(error_category(status), ErrorCategory::kIo);
    EXPECT_THAT(message_of(status), HasSubstr("file/run"));
  });
}

TEST(CheckPairs, TimesHostsButNotRanksOfOneHost) {
  run_ranks(7,
            [](Communicator& world) {
              const auto timing = check_pairs(world, "here", absl::Minutes(1));
              ASSERT_TRUE(timing.ok()) << timing.status();
              const bool leads = world.rank() != 1 && world.rank() != 4;
              EXPECT_EQ(timing->slowest_peer >= 0, leads);
              if (!leads) return;
              EXPECT_NE(world.node_of(timing->slowest_peer), world.node_of(world.rank()));
              EXPECT_GT(timing->slowest, absl::ZeroDuration());
            },
            {.timeout = absl::Minutes(1), .nodes = {0, 0, 1, 2, 2, 3, 4}});
}

// Every other host meets the silent one in its own round and names it.
TEST(CheckPairs, NameTheHostThatDoesNotAnswer) {
  for (int silent = 0; silent < 4; ++silent) {
    run_ranks(4,
              [&](Communicator& world) {
                if (world.rank() == silent) return;
                const auto status = check_pairs(world, "here", absl::Milliseconds(150)).status();
                EXPECT_EQ(error_category(status), ErrorCategory::kCommunication);
                EXPECT_THAT(message_of(status), HasSubstr("host here (rank " + std::to_string(world.rank()) + ")"));
                const std::string silent_host = std::to_string(silent) + " (loopback" + std::to_string(silent) + ")";
                EXPECT_THAT(message_of(status), HasSubstr("nothing came from rank " + silent_host));
              },
              {.timeout = absl::Minutes(1), .nodes = {0, 1, 2, 3}});
  }
}

TEST(TensorGroupWarning, OnlyWhereGroupsCrossHosts) {
  const auto facts = ranks_alike(6);
  EXPECT_THAT(tensor_group_warning(facts, 1), IsEmpty());
  EXPECT_THAT(tensor_group_warning(facts, 2), IsEmpty());
  EXPECT_THAT(tensor_group_warning(facts, 3), HasSubstr("2 of 2 tensor groups cross hosts"));
  EXPECT_THAT(tensor_group_warning(facts, 3), HasSubstr("ranks 0-2 on hosts anna, bert"));
}

TEST(SharedCoreWarning, OnlyWhereRanksOutnumberCores) {
  auto facts = ranks_alike(4);
  EXPECT_THAT(shared_core_warning(facts), IsEmpty());
  facts[2].binding = facts[3].binding = {"5", 1};
  EXPECT_THAT(shared_core_warning(facts), HasSubstr("ranks 2-3 on host bert share 1 core;"));
}

}  // namespace
}  // namespace switchyard
