#include "runtime/comm/launcher_end.h"

#include <csignal>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace switchyard {
namespace {

// A process that calls itself `name`, has a child that leaves the launcher's end behind and ends, and then waits for
// two seconds at most. Its status as waitpid gives it.
int end_of(const char* name, bool takes_sigterm) {
  const pid_t launcher = ::fork();
  if (launcher == 0) {
    ::prctl(PR_SET_NAME, name);
    if (takes_sigterm) std::signal(SIGTERM, [](int) { ::_exit(7); });
    const pid_t rank = ::fork();
    if (rank == 0) {
      end_launcher_after(absl::Milliseconds(200));
      ::_exit(0);
    }
    ::waitpid(rank, nullptr, 0);
    ::poll(nullptr, 0, 2000);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(launcher, &status, 0);
  return status;
}

TEST(LauncherEnd, MpirunThatStaysIsEnded) {
  const int killed = end_of("mpirun", false);
  ASSERT_TRUE(WIFSIGNALED(killed));
  EXPECT_EQ(WTERMSIG(killed), SIGTERM);
  const int told = end_of("orted", true);
  ASSERT_TRUE(WIFEXITED(told));
  EXPECT_EQ(WEXITSTATUS(told), 7);
}

TEST(LauncherEnd, OtherParentsAreLeftAlone) {
  const int status = end_of("slurmstepd", false);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace switchyard
