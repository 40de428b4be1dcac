#include "tests/integration/crash/io_call.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace crash {
namespace {

constexpr int kMostDescriptors = 65536;

struct Plan {
  std::string folder;
  int log = -1;
  bool data = false;
  long at = 0;  // 0: no fault
  std::string action;
};

Plan plan;
std::atomic<bool> armed{false};
bool struck = false;
std::recursive_mutex mutex;
long calls = 0;
int handles = 0;
int handle_of[kMostDescriptors];

std::string value_of(const std::string& text, const std::string& key) {
  const std::string all = ";" + text + ";";
  const size_t at = all.find(";" + key + "=");
  if (at == std::string::npos) return "";
  const size_t begin = at + key.size() + 2;
  return all.substr(begin, all.find(';', begin) - begin);
}

bool starts(const std::string& text, const char* with) {
  return text.rfind(with, 0) == 0;
}

void put(const void* data, size_t bytes) {
  if (plan.log >= 0) (void)!::syscall(SYS_write, plan.log, data, bytes);
}

}  // namespace

Call::Call(bool counted, Kind kind, const char* name) : lock_(mutex, std::defer_lock), counted_(counted), name_(name) {
  if (!counted_) return;
  lock_.lock();
  ++calls;
  if (plan.at == 0 || calls < plan.at) return;
  const bool of_write = starts(plan.action, "torn-") || plan.action == "short";
  const bool again = starts(plan.action, "full-") && kind != Kind::kOther;
  const bool first = !struck && (calls == plan.at || (of_write && kind == Kind::kWrite));
  if ((!first && !again) || (of_write && kind != Kind::kWrite)) return;
  struck = true;
  if (plan.action == "kill") {
    cut_ = "torn-none";
    end_write();
  } else if (of_write) {
    cut_ = plan.action;
  } else {
    error_ = std::atoi(plan.action.c_str() + plan.action.find('-') + 1);
    record("failed %s", name_);
  }
}

bool Call::fails() const {
  if (error_ != 0) errno = error_;
  return error_ != 0;
}

size_t Call::part(size_t bytes) const {
  if (bytes == 0 || cut_.empty()) return bytes;
  if (cut_ == "torn-none") return 0;
  if (cut_ == "torn-third") return bytes / 3;
  return cut_ == "short" ? (bytes + 1) / 2 : bytes - 1;
}

void Call::end_write() const {
  if (!starts(cut_, "torn-")) return;
  record("killed %s", name_);
  ::syscall(SYS_kill, ::syscall(SYS_getpid), SIGKILL);
  while (true) ::pause();
}

void Call::record(const char* format, ...) const {
  if (!counted_) return;
  const int saved = errno;
  char line[8192];
  int length = std::snprintf(line, sizeof line, "%ld ", calls);
  va_list arguments;
  va_start(arguments, format);
  length += std::vsnprintf(line + length, sizeof line - static_cast<size_t>(length), format, arguments);
  va_end(arguments);
  line[length] = '\n';
  put(line, static_cast<size_t>(length) + 1);
  errno = saved;
}

void Call::record_data(const void* data, size_t bytes) const {
  if (plan.data) put(data, bytes);
}

std::string counted_path(int directory, const char* path) {
  if (!armed || path == nullptr) return "";
  std::string whole = path;
  if (path[0] != '/') {
    char base[4096];
    const std::string link = directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/" + std::to_string(directory);
    const ssize_t length = ::readlink(link.c_str(), base, sizeof base);
    if (length <= 0) return "";
    whole = std::string(base, static_cast<size_t>(length)) + "/" + path;
  }
  while (whole.size() > 1 && whole.back() == '/') whole.pop_back();
  if (whole == plan.folder) return ".";
  return starts(whole, (plan.folder + "/").c_str()) ? whole.substr(plan.folder.size() + 1) : "";
}

int handle(int descriptor) {
  return armed && descriptor >= 0 && descriptor < kMostDescriptors ? handle_of[descriptor] : 0;
}

int new_handle(int descriptor) {
  if (descriptor < kMostDescriptors) handle_of[descriptor] = ++handles;
  return handles;
}

void forget_handle(int descriptor) {
  if (descriptor >= 0 && descriptor < kMostDescriptors) handle_of[descriptor] = 0;
}

}  // namespace crash

extern "C" void crash_shim_arm(const char* text) {
  using namespace crash;
  const std::string rank = value_of(text, "rank");
  const char* own = std::getenv("OMPI_COMM_WORLD_RANK");
  if (!rank.empty() && (own == nullptr || rank != own)) return;
  const std::lock_guard lock(mutex);
  plan = {.folder = value_of(text, "folder"),
          .data = value_of(text, "data") == "1",
          .at = std::atol(value_of(text, "at").c_str()),
          .action = value_of(text, "do")};
  const std::string log = value_of(text, "log");
  if (!log.empty()) {
    plan.log =
        static_cast<int>(::syscall(SYS_openat, AT_FDCWD, log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  }
  armed = !plan.folder.empty();
}

namespace crash {
namespace {

[[maybe_unused]] const bool armed_from_environment = [] {
  const char* text = std::getenv("CRASH_SHIM");
  if (text != nullptr) crash_shim_arm(text);
  return text != nullptr;
}();

}  // namespace
}  // namespace crash
