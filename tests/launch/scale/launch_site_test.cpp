#include "launch/scale/launch_site.h"

#include <fstream>
#include <map>

#include <absl/strings/str_join.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

absl::StatusOr<LaunchSite> site(const std::map<std::string, std::string>& variables, const std::string& hostfile = "") {
  return find_site(hostfile, [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string words(const LaunchSite& site, int ranks, int threads) {
  return absl::StrJoin(site.words(ranks, threads), " ");
}

TEST(LaunchSite, OnThisHostRanksShareTheCores) {
  const LaunchSite host{.cores = 8};
  EXPECT_EQ(host.threads(2), 4);
  EXPECT_EQ(host.threads(16), 1);
  EXPECT_FALSE(host.is_crowded(2, 4));
  EXPECT_TRUE(host.is_crowded(4, 4));
  EXPECT_EQ(words(host, 8, 1), "mpirun -n 8 --bind-to none");
  EXPECT_EQ(words(host, 16, 1), "mpirun -n 16 --bind-to none --oversubscribe --mca mpi_yield_when_idle 1");
  EXPECT_TRUE(host.check(1000).ok());
  EXPECT_EQ(host.describe(), "this host, 8 cores");
}

TEST(LaunchSite, HostsOfAHostfileBindTheirRanks) {
  const TemporaryFolder folder;
  const std::string path = folder / "hosts";
  std::ofstream(path) << "# two hosts\nnode-1 slots=8\n\nnode-2 slots=4 max_slots=4  # smaller\n";
  auto found = site({}, path);
  ASSERT_TRUE(found.ok()) << found.status();
  found->cores = 16;
  EXPECT_EQ(found->threads(12), 2);
  EXPECT_EQ(found->threads(2), 8);
  EXPECT_FALSE(found->is_crowded(12, 16));
  EXPECT_EQ(words(*found, 12, 2), "mpirun -n 12 --hostfile " + path + " --map-by slot:pe=2 --bind-to core");
  EXPECT_TRUE(found->check(12).ok());
  EXPECT_EQ(error_category(found->check(13)), ErrorCategory::kUsage);
  EXPECT_THAT(std::string(found->check(13).message()), HasSubstr("12 slots"));

  std::ofstream(path) << "node-1\nnode-2 slots=4\n";
  EXPECT_EQ(site({}, path)->slots, 0);  // not all say
  EXPECT_TRUE(site({}, path)->check(100).ok());
  std::ofstream(path) << "# nobody\n";
  EXPECT_EQ(error_category(site({}, path).status()), ErrorCategory::kBadData);
  EXPECT_EQ(error_category(site({}, folder / "none").status()), ErrorCategory::kMissingInput);
}

TEST(LaunchSite, AnAllocationOfSlurmTakesSrun) {
  const std::map<std::string, std::string> script = {
      {"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "16"}, {"SLURM_NTASKS_PER_NODE", "8"}, {"SLURM_CPUS_PER_TASK", "4"}};
  const auto found = site(script);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->threads(16), 4);
  EXPECT_EQ(words(*found, 12, 4),
            "srun --mpi=pmix --cpu-bind=cores --ntasks=12 --cpus-per-task=4 --nodes=2 --ntasks-per-node=8");
  EXPECT_EQ(words(*found, 2, 4),
            "srun --mpi=pmix --cpu-bind=cores --ntasks=2 --cpus-per-task=4 --nodes=1 --ntasks-per-node=2");
  EXPECT_EQ(error_category(found->check(17)), ErrorCategory::kUsage);
  EXPECT_EQ(error_category(site(script, "hosts").status()), ErrorCategory::kUsage);
}

TEST(LaunchSite, AJobStartsNoOther) {
  const auto found = site({{"OMPI_COMM_WORLD_LOCAL_RANK", "0"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  EXPECT_EQ(error_category(found.status()), ErrorCategory::kUsage);
  EXPECT_THAT(std::string(found.status().message()), HasSubstr("without mpirun"));
}

}  // namespace
}  // namespace switchyard
