#include "runtime/comm/launcher_end.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace switchyard {
namespace {

bool is_mpirun(pid_t pid) {
  char path[64], name[32] = {};
  std::snprintf(path, sizeof path, "/proc/%d/comm", static_cast<int>(pid));
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool read = ::read(file, name, sizeof name - 1) > 0;
  ::close(file);
  name[std::strcspn(name, "\n")] = 0;
  const auto is = [&](const char* known) { return std::strcmp(name, known) == 0; };
  return read && (is("mpirun") || is("mpiexec") || is("orterun") || is("prterun") || is("orted"));
}

// Whether the process has gone within so many milliseconds.
bool has_gone(int process, int milliseconds) {
  pollfd descriptor{process, POLLIN, 0};
  int found = 0;
  while ((found = ::poll(&descriptor, 1, milliseconds)) < 0 && errno == EINTR) {
  }
  return found != 0;
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
  const pid_t child = is_mpirun(launcher) ? ::_Fork() : -1;
  if (child != 0) {
    if (child > 0) ::setpgid(child, child);  // out of the group that the launcher ends, before it does
    ::close(process);
    return;
  }
  // In the child, where other threads' locks may be held: system calls alone. It lets go of the outputs, whose end the
  // launcher waits for.
  ::setpgid(0, 0);
  const bool closed = ::syscall(SYS_close_range, process + 1, ~0U, 0) == 0 &&
                      (process == 0 || ::syscall(SYS_close_range, 0, process - 1, 0) == 0);
  if (closed && !has_gone(process, milliseconds)) {
    send(process, SIGTERM);
    if (!has_gone(process, 5000)) send(process, SIGKILL);
  }
  ::_exit(0);
}

}  // namespace switchyard
