#include "runtime/comm/launcher.h"

#include <map>

#include <gtest/gtest.h>

namespace switchyard {
namespace {

std::optional<Launcher> found_in(const std::map<std::string, std::string>& variables) {
  return find_launcher([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

void expect(const std::optional<Launcher>& found, const std::string& name, int local_rank, int local_size) {
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->name, name);
  EXPECT_EQ(found->local_rank, local_rank);
  EXPECT_EQ(found->local_size, local_size);
}

TEST(Launcher, KnowsEachByItsVariables) {
  expect(found_in({{"OMPI_COMM_WORLD_LOCAL_RANK", "3"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}}), "mpirun", 3, 4);
  expect(found_in({{"MPI_LOCALRANKID", "0"}, {"MPI_LOCALNRANKS", "2"}}), "mpiexec", 0, 2);
}

TEST(Launcher, ReadsSlurmsCountsPerHost) {
  const auto on_host = [](int host) {
    return found_in({{"SLURM_STEP_ID", "0"},
                     {"SLURM_LOCALID", "1"},
                     {"SLURM_NODEID", std::to_string(host)},
                     {"SLURM_STEP_TASKS_PER_NODE", "4(x2),3,8(x5)"}});
  };
  expect(on_host(1), "srun", 1, 4);
  expect(on_host(2), "srun", 1, 3);
  expect(on_host(7), "srun", 1, 8);
  EXPECT_FALSE(on_host(8).has_value());
}

TEST(Launcher, ABatchScriptOfSlurmIsNotALaunch) {
  EXPECT_FALSE(found_in({{"SLURM_LOCALID", "0"}, {"SLURM_NODEID", "0"}, {"SLURM_TASKS_PER_NODE", "4"}}).has_value());
}

TEST(Launcher, MpirunInsideAnAllocationWins) {
  expect(found_in({{"SLURM_STEP_ID", "0"},
                   {"SLURM_LOCALID", "0"},
                   {"SLURM_NODEID", "0"},
                   {"SLURM_STEP_TASKS_PER_NODE", "1"},
                   {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                   {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}),
         "mpirun", 1, 2);
}

TEST(Launcher, KnowsAnAllocationOfSlurm) {
  const auto allocation_in = [](const std::map<std::string, std::string>& variables) {
    return find_allocation([&](const char* name) {
      const auto found = variables.find(name);
      return found == variables.end() ? nullptr : found->second.c_str();
    });
  };
  EXPECT_FALSE(allocation_in({{"SLURM_NTASKS", "4"}}).has_value());
  const auto asked = allocation_in({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "16"}, {"SLURM_NTASKS_PER_NODE", "8"}});
  ASSERT_TRUE(asked.has_value());
  EXPECT_EQ(asked->tasks, 16);
  EXPECT_EQ(asked->tasks_of_host, 8);
  EXPECT_EQ(asked->cpus_a_task, 0);  // not asked for
}

TEST(Launcher, NoneAndNonsense) {
  EXPECT_FALSE(found_in({}).has_value());
  EXPECT_FALSE(found_in({{"OMPI_COMM_WORLD_LOCAL_RANK", "x"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}).has_value());
}

}  // namespace
}  // namespace switchyard
