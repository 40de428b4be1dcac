#include "runtime/comm/launcher_end.h"

#include <csignal>
#include <fstream>
#include <set>
#include <string>

#include <absl/strings/str_cat.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace switchyard {
namespace {

bool is_mpirun(pid_t pid) {
  static const std::set<std::string> names = {"mpirun", "mpiexec", "orterun", "orted", "prterun", "prted"};
  std::ifstream file(absl::StrCat("/proc/", pid, "/comm"));
  std::string name;
  return std::getline(file, name) && names.contains(name);
}

// Whether the process has gone within so many milliseconds.
bool has_gone(int process, int milliseconds) {
  pollfd descriptor{process, POLLIN, 0};
  return ::poll(&descriptor, 1, milliseconds) != 0;
}

void send(int process, int signal) {
  ::syscall(SYS_pidfd_send_signal, process, signal, nullptr, 0);
}

}  // namespace

void end_launcher_after(absl::Duration grace) {
  const pid_t launcher = ::getppid();
  const int process = static_cast<int>(::syscall(SYS_pidfd_open, launcher, 0));
  if (process < 0) return;
  const int milliseconds = static_cast<int>(absl::ToInt64Milliseconds(grace));
  if (!is_mpirun(launcher) || ::fork() != 0) {
    ::close(process);
    return;
  }
  // In the child, where other threads' locks may be held: system calls alone. It leaves the group that the launcher
  // ends, and lets go of the outputs, whose end the launcher waits for.
  ::setsid();
  const bool closed = ::syscall(SYS_close_range, process + 1, ~0U, 0) == 0 &&
                      (process == 0 || ::syscall(SYS_close_range, 0, process - 1, 0) == 0);
  if (closed && !has_gone(process, milliseconds)) {
    send(process, SIGTERM);
    if (!has_gone(process, 5000)) send(process, SIGKILL);
  }
  ::_exit(0);
}

}  // namespace switchyard
