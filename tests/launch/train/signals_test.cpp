#include "launch/train/signals.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

TEST(StopSignals, EachSetsTheFlagAndTheFirstIsKept) {
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    const StopSignals signals;
    EXPECT_EQ(signals.received(), 0);
    ASSERT_EQ(raise(signal), 0);
    EXPECT_EQ(signals.received(), signal);
    ASSERT_EQ(raise(SIGUSR1), 0);
    EXPECT_EQ(signals.received(), signal);
  }
}

TEST(StopSignals, HandlersAreRestored) {
  { const StopSignals signals; }
  struct sigaction action = {};
  ASSERT_EQ(sigaction(SIGTERM, nullptr, &action), 0);
  EXPECT_EQ(action.sa_handler, SIG_DFL);
}

TEST(StopSignals, ARequestThatComesTooLateKillsNobody) {
  { const StopSignals signals; }
  EXPECT_EQ(raise(SIGUSR1), 0);
}

TEST(StopSignals, OnlyOneAtATime) {
  const StopSignals signals;
  EXPECT_THROW(StopSignals second, CheckError);
}

TEST(StopSignals, ASecondInterruptEndsTheProcess) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const StopSignals signals;
    raise(SIGINT);
    raise(SIGINT);
    _exit(0);
  }
  int state = 0;
  ASSERT_EQ(waitpid(child, &state, 0), child);
  ASSERT_TRUE(WIFSIGNALED(state));
  EXPECT_EQ(WTERMSIG(state), SIGINT);
}

}  // namespace
}  // namespace switchyard
