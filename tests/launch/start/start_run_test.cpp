#include "launch/start/start_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/start/binding.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

TEST(Binding, WritesListsAndCountsCoresOnce) {
  const auto no_siblings = [](int) { return std::string(); };
  const Binding plain = binding_of({0, 1, 2, 5, 7, 8}, no_siblings);
  EXPECT_EQ(plain.cpus, "0-2,5,7-8");
  EXPECT_EQ(plain.cores, 6);
  // Processors i and i + 4 are the two threads of one core.
  const auto pairs = [](int cpu) { return std::to_string(cpu % 4) + "," + std::to_string(cpu % 4 + 4); };
  EXPECT_EQ(binding_of({0, 1, 4, 5, 6}, pairs).cores, 3);
}

TEST(Binding, OwnIsNotEmpty) {
  EXPECT_GE(own_binding().cores, 1);
  EXPECT_FALSE(own_binding().cpus.empty());
}

TEST(GatherFacts, DividesCoresAmongRanksThatShareThem) {
  run_ranks(5,
            [](Communicator& world) {
              RankFacts mine;
              mine.host = "host" + std::to_string(world.node_of(world.rank()));
              mine.node = world.node_of(world.rank());
              // Three ranks share 0-7; one has two cores of its own; one is alone on the other host.
              mine.binding = world.rank() == 3 ? Binding{"8-9", 2} : Binding{"0-7", 8};
              mine.build = "with spaces, and = signs";
              mine.slowest = absl::Nanoseconds(1'234'567);
              const auto facts = value_or_throw(gather_facts(world, mine));
              std::vector<int> threads;
              for (const RankFacts& rank : facts) threads.push_back(rank.threads);
              EXPECT_EQ(threads, (std::vector<int>{2, 2, 2, 2, 8}));
              EXPECT_EQ(facts[4].host, "host1");
              EXPECT_EQ(facts[3].binding.cpus, "8-9");
              EXPECT_EQ(facts[2].build, mine.build);
              EXPECT_EQ(facts[1].slowest, mine.slowest);
              EXPECT_LT(absl::AbsDuration(facts[0].clock - absl::Now()), absl::Minutes(1));
              EXPECT_THAT(rank_table(facts), HasSubstr("    3  host0     0  8-9       2        2  "));
            },
            {.timeout = absl::Minutes(1), .nodes = {0, 0, 0, 0, 1}});
}

StartOptions good_options(const std::filesystem::path& folder) {
  StartOptions options;
  options.build = "0.1.0 (abc)";
  options.config_text = "train:\n  steps: 10\n";
  options.run_folder = folder;
  options.tensor = 2;
  return options;
}

TEST(StartRun, ReportsRanksHostsAndCrossingGroups) {
  const TemporaryFolder folder;
  run_ranks(3,
            [&](Communicator& world) {
              const RunStart start = value_or_throw(start_run(world, good_options(folder / "run")));
              EXPECT_EQ(start.facts.size(), 3u);
              EXPECT_GE(start.threads, 1);
              EXPECT_THAT(start.report, HasSubstr("rank  host"));
              EXPECT_THAT(start.report, HasSubstr("slowest pair of hosts: "));
              EXPECT_THAT(start.report, HasSubstr("1 of 2 tensor groups cross hosts"));
            },
            {.timeout = absl::Minutes(1), .nodes = {0, 1, 1}});
}

TEST(StartRun, OneRankNeedsNobody) {
  const TemporaryFolder folder;
  run_ranks(1, [&](Communicator& world) {
    const RunStart start = value_or_throw(start_run(world, good_options(folder / "run")));
    EXPECT_EQ(start.threads, own_binding().cores);
  });
}

TEST(StartRun, DifferencesAreErrorsThatAllRanksShare) {
  const TemporaryFolder folder;
  const auto fails_with = [&](ErrorCategory category, const std::string& text,
                              const std::function<void(StartOptions&)>& change) {
    run_ranks(3, [&](Communicator& world) {
      StartOptions options = good_options(folder / "run");
      options.folder_patience = absl::Milliseconds(200);
      if (world.rank() == 1) change(options);
      const absl::Status status = start_run(world, options).status();
      EXPECT_EQ(error_category(status), category) << status;
      EXPECT_TRUE(is_agreed(status));
      EXPECT_THAT(std::string(status.message()), HasSubstr(text));
      EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1 on host "));
    });
  };
  fails_with(ErrorCategory::kUnavailable, "different builds", [](StartOptions& o) { o.build = "0.1.0 (abd)"; });
  fails_with(ErrorCategory::kBadConfig, "'steps: 11'",
             [](StartOptions& o) { o.config_text = "train:\n  steps: 11\n"; });
  fails_with(ErrorCategory::kBadConfig, "not the same on all hosts",
             [&](StartOptions& o) { o.run_folder = folder / "other"; });
}

}  // namespace
}  // namespace switchyard
