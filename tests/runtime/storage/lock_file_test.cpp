#include "runtime/storage/lock_file.h"

#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/status.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Lock : public testing::TestWithParam<bool> {
 protected:
  absl::StatusOr<std::unique_ptr<LockFile>> acquire() {
    return LockFile::acquire(path_, {.beat = absl::Milliseconds(20),
                                     .patience = absl::Milliseconds(400),
                                     .use_flock = GetParam(),
                                     .notice = [this](const std::string& text) { notices_.push_back(text); }});
  }
  void expect_held_by(const std::string& whom) {
    const auto second = acquire();
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(error_category(second.status()), ErrorCategory::kUnavailable);
    EXPECT_THAT(std::string(second.status().message()), AllOf(HasSubstr(path_.string()), HasSubstr(whom)));
  }
  // A process that holds the lock, until it is killed.
  pid_t hold_elsewhere() {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      const auto lock = acquire();
      [[maybe_unused]] const ssize_t told = ::write(ready[1], lock.ok() ? "1" : "0", 1);
      ::pause();
      ::_exit(0);
    }
    char answer = 0;
    EXPECT_EQ(::read(ready[0], &answer, 1), 1);
    EXPECT_EQ(answer, '1');
    ::close(ready[0]);
    ::close(ready[1]);
    return child;
  }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / ".lock";
  std::vector<std::string> notices_;
};

TEST_P(Lock, HasOneHolder) {
  {
    const auto first = acquire();
    ASSERT_TRUE(first.ok()) << first.status();
    expect_held_by("process " + std::to_string(::getpid()));
  }
  EXPECT_TRUE(acquire().ok());
  EXPECT_TRUE(notices_.empty());
}

TEST_P(Lock, OfAKilledProcessIsFree) {
  const pid_t child = hold_elsewhere();
  expect_held_by("process " + std::to_string(child));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(acquire().ok());
  EXPECT_THAT(notices_, testing::ElementsAre(HasSubstr("taking it over")));
}

TEST_P(Lock, OfAnotherHostIsWatched) {
  // Of the flock of such a holder nothing is seen.
  std::ofstream(path_) << "elsewhere boot pid:[1] 77 12345\n";
  {
    const auto gone = acquire();
    ASSERT_TRUE(gone.ok()) << gone.status();
  }
  EXPECT_THAT(notices_, testing::ElementsAre(HasSubstr("process 77 on elsewhere"), HasSubstr("taking it over")));

  std::ofstream(path_) << "elsewhere boot pid:[1] 77 12345\n";
  const pid_t child = ::fork();
  if (child == 0) {
    for (int i = 0; i < 100; ++i) {
      std::filesystem::last_write_time(path_, std::filesystem::file_time_type::clock::now());
      ::usleep(20'000);
    }
    ::_exit(0);
  }
  expect_held_by("process 77 on elsewhere");
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST_P(Lock, WhatIsNoHolderIsNobody) {
  for (const char* content : {"", "host", "host boot pid 12 34", "\n", "host boot pid x 34\n"}) {
    std::ofstream(path_) << content;
    EXPECT_TRUE(acquire().ok()) << content;
  }
}

TEST_P(Lock, InAFolderThatIsNotThere) {
  path_ = folder_ / "none/.lock";
  EXPECT_EQ(error_category(acquire().status()), ErrorCategory::kMissingInput);
}

INSTANTIATE_TEST_SUITE_P(FileSystems, Lock, testing::Bool(),
                         [](const auto& of) { return of.param ? "WithFlock" : "WithoutFlock"; });

}  // namespace
}  // namespace switchyard
