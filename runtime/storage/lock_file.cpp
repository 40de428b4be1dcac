#include "runtime/storage/lock_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <sstream>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

// What the file says: a line of these, in this order.
struct Holder {
  std::string host, boot, pid_namespace;  // processes are comparable where all three are equal
  int64_t process = 0;
  std::string started;  // in clock ticks since the boot, so that another process with the number is told apart
  bool operator==(const Holder&) const = default;
};

std::string first_line(const std::string& path) {
  char text[512];
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t got = file.valid() ? ::read(file.get(), text, sizeof text) : 0;
  const std::string line(text, static_cast<size_t>(std::max<ssize_t>(got, 0)));
  return line.substr(0, line.find('\n'));
}

// Empty where there is no such process.
std::string start_of(int64_t process) {
  const std::string stat = first_line(absl::StrCat("/proc/", process, "/stat"));  // pid (name) state …
  const size_t name_end = stat.rfind(") ");
  if (name_end == std::string::npos) return "";
  std::istringstream fields(stat.substr(name_end + 2));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;  // proc(5) counts from 1
  return field;
}

Holder myself() {
  std::array<char, 256> host{};
  std::array<char, 256> name{};
  ::gethostname(host.data(), host.size() - 1);
  const ssize_t size = ::readlink("/proc/self/ns/pid", name.data(), name.size() - 1);
  const std::string boot = first_line("/proc/sys/kernel/random/boot_id");
  return {host.data(), boot.empty() ? "unknown" : boot, size > 0 ? name.data() : "unknown", ::getpid(),
          start_of(::getpid())};
}

absl::Status write_holder(int file, const Holder& holder, const std::filesystem::path& path) {
  const std::string line = absl::StrCat(holder.host, " ", holder.boot, " ", holder.pid_namespace, " ", holder.process,
                                        " ", holder.started, "\n");
  const bool written = ::ftruncate(file, 0) == 0 &&
                       ::pwrite(file, line.data(), line.size(), 0) == static_cast<ssize_t>(line.size()) &&
                       ::fsync(file) == 0;
  return written ? absl::OkStatus() : io_error("cannot write", path, errno);
}

// nullopt where nobody is named, or a name was not written to its end.
std::optional<Holder> read_holder(int file) {
  char text[1024];
  const ssize_t got = ::pread(file, text, sizeof text, 0);
  const std::string line(text, static_cast<size_t>(std::max<ssize_t>(got, 0)));
  std::istringstream fields(line);
  Holder holder;
  fields >> holder.host >> holder.boot >> holder.pid_namespace >> holder.process >> holder.started;
  if (fields.fail() || line.back() != '\n') return std::nullopt;
  return holder;
}

std::pair<int64_t, int64_t> touched(int file) {
  struct stat information = {};
  ::fstat(file, &information);
  return {information.st_mtim.tv_sec, information.st_mtim.tv_nsec};
}

// Whether somebody touches the file while it is watched; clocks are not compared, for those of hosts differ.
bool is_touched(int file, absl::Duration patience) {
  const auto before = touched(file);
  const absl::Time until = absl::Now() + patience;
  while (touched(file) == before) {
    if (absl::Now() >= until) return false;
    absl::SleepFor(std::min(absl::Milliseconds(200), patience / 4));
  }
  return true;
}

absl::Status held(const std::filesystem::path& path, const std::optional<Holder>& holder) {
  return error(ErrorCategory::kUnavailable,
               holder ? absl::StrCat(path.string(), " is held by process ", holder->process, " on ", holder->host)
                      : absl::StrCat(path.string(), " is held by another process"));
}

// Whether the holder that the file names lives, where the kernel's lock does not say.
bool lives(int file, const Holder& holder, const Holder& me, bool has_flock, const LockOptions& options) {
  const bool comparable = holder.host == me.host && holder.boot == me.boot && holder.pid_namespace == me.pid_namespace;
  if (comparable) return !has_flock && start_of(holder.process) == holder.started;
  if (options.notice) {
    options.notice(absl::StrCat("watching for ", absl::FormatDuration(options.patience), " whether process ",
                                holder.process, " on ", holder.host, " still runs, which has not let go of its lock"));
  }
  return is_touched(file, options.patience);
}

}  // namespace

absl::StatusOr<std::unique_ptr<LockFile>> LockFile::acquire(const std::filesystem::path& path,
                                                            const LockOptions& options) {
  FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!file.valid()) return io_error("cannot write", path, errno);
  int refused = options.use_flock ? 0 : EOPNOTSUPP;
  if (options.use_flock && ::flock(file.get(), LOCK_EX | LOCK_NB) != 0) refused = errno;
  const bool has_flock = refused == 0;
  const std::optional<Holder> holder = read_holder(file.get());
  if (refused == EWOULDBLOCK) return held(path, holder);

  const Holder me = myself();
  if (holder) {
    if (lives(file.get(), *holder, me, has_flock, options)) return held(path, holder);
    if (options.notice) {
      options.notice(absl::StrCat("process ", holder->process, " on ", holder->host,
                                  " ended without letting go of its lock; taking it over"));
    }
  }
  SY_RETURN_IF_ERROR(write_holder(file.get(), me, path));
  if (!has_flock) {
    // Of two that come at the same time, the last to write has it.
    absl::SleepFor(absl::Milliseconds(300));
    const std::optional<Holder> now = read_holder(file.get());
    if (now != me) return held(path, now);
  }
  return std::unique_ptr<LockFile>(new LockFile(std::move(file), options.beat));
}

LockFile::LockFile(FileDescriptor file, absl::Duration beat)
    : file_(std::move(file)), beat_(beat), thread_([this] { touch_again_and_again(); }) {}

LockFile::~LockFile() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  ending_.notify_all();
  thread_.join();
  // Nobody is named any more; without that the next one would find out, too.
  [[maybe_unused]] const int ignored = ::ftruncate(file_.get(), 0);
}

void LockFile::touch_again_and_again() {
  std::unique_lock lock(mutex_);
  while (!ending_.wait_for(lock, absl::ToChronoMilliseconds(beat_), [this] { return ended_; })) {
    ::futimens(file_.get(), nullptr);
  }
}

}  // namespace switchyard
