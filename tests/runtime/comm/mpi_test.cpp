#include "runtime/comm/mpi.h"

#include <cstdlib>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "runtime/comm/launcher.h"
#include "tests/runtime/comm/bodies.h"
#include "tests/support/mpi_world.h"

namespace switchyard {
namespace {

class OverMpi : public testing::TestWithParam<Body> {};

TEST_P(OverMpi, Runs) {
  GetParam().run(mpi_world());
}

INSTANTIATE_TEST_SUITE_P(Bodies, OverMpi, testing::ValuesIn(bodies()),
                         [](const auto& instance) { return instance.param.name; });

TEST(Mpi, RanksOfOneMachineAreOnOneNode) {
  for (int rank = 0; rank < mpi_world().size(); ++rank) EXPECT_EQ(mpi_world().node_of(rank), 0);
}

TEST(Mpi, LauncherTellsLocalRanks) {
  const auto launcher = find_launcher([](const char* name) { return std::getenv(name); });
  ASSERT_TRUE(launcher.has_value());
  EXPECT_EQ(launcher->local_rank, mpi_world().rank());
  EXPECT_EQ(launcher->local_size, mpi_world().size());
}

// So that a killed job leaves nothing behind.
TEST(Mpi, SharedMemoryHasNoNames) {
  ASSERT_TRUE(mpi_world().barrier().wait().ok());  // all have come through MpiSession::start
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/dev/shm/vader_segment") == std::string::npos) continue;
    EXPECT_NE(line.find("(deleted)"), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace switchyard
