#include "launch/scale/process.h"

#include <cerrno>
#include <csignal>
#include <system_error>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/status.h"
#include "runtime/storage/file.h"

namespace switchyard {
namespace {

std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>>& changes) {
  std::vector<std::string> all;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    bool changed = false;
    for (const auto& [name, value] : changes) changed = changed || absl::StartsWith(text, name + "=");
    if (!changed) all.push_back(text);
  }
  for (const auto& [name, value] : changes) all.push_back(absl::StrCat(name, "=", value));
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

int exit_code_of(int state) {
  return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

// In the child: all memory is there already, since only such calls are allowed as signal handlers may make.
[[noreturn]] void become(char* const* words, char* const* environment, int output, int failed, pid_t parent) {
  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::execvpe(words[0], words, environment);
  const int reason = errno;
  [[maybe_unused]] const ssize_t told = ::write(failed, &reason, sizeof reason);
  ::_exit(127);
}

}  // namespace

absl::StatusOr<Process> Process::start(const ProcessOptions& options) {
  const FileDescriptor output(::open(options.output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!output.valid()) return io_error("cannot write", options.output, errno);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return io_error("cannot make a pipe for", options.words.front(), errno);
  const FileDescriptor heard(ends[0]);
  FileDescriptor failed(ends[1]);
  std::vector<std::string> words = options.words, environment = environment_with(options.environment);
  const std::vector<char*> word_pointers = pointers_to(words), environment_pointers = pointers_to(environment);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return io_error("cannot start", options.words.front(), errno);
  if (child == 0) become(word_pointers.data(), environment_pointers.data(), output.get(), failed.get(), parent);
  Process process(child);
  failed.close();  // exec closes the child's
  int reason = 0;
  if (::read(heard.get(), &reason, sizeof reason) == sizeof reason) {
    return error(ErrorCategory::kUnavailable,
                 absl::StrCat("cannot start ", options.words.front(), ": ", std::generic_category().message(reason),
                              "; is it installed, and in PATH?"));
  }
  return process;
}

Process::~Process() {
  end();
}

std::optional<int> Process::poll() {
  int state = 0;
  if (pid_ < 0 || ::waitpid(pid_, &state, WNOHANG) != pid_) return std::nullopt;
  pid_ = -1;
  return exit_code_of(state);
}

void Process::end() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGTERM);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

}  // namespace switchyard
