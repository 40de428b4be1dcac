// A program that runs beside this one.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>
#include <sys/types.h>

namespace switchyard {

struct ProcessOptions {
  std::vector<std::string> words;                                // the program, found by PATH, and its arguments
  std::vector<std::pair<std::string, std::string>> environment;  // beside this process's own
  std::filesystem::path output;                                  // file for both outputs
};

class Process {
 public:
  // In a session of its own, so that Ctrl-C on the terminal reaches this process alone; SIGTERM reaches it where this
  // process dies. kIo where `output` can't be written, kUnavailable where there is no such program.
  static absl::StatusOr<Process> start(const ProcessOptions& options);
  Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Process& operator=(Process&&) = delete;
  ~Process();  // ends it

  // None while it runs; then, once, its exit code as a shell gives it: 128 + the signal that ended it.
  std::optional<int> poll();
  // SIGTERM, and waits until it is gone.
  void end();

 private:
  explicit Process(pid_t pid) : pid_(pid) {}

  pid_t pid_;  // -1: gone
};

}  // namespace switchyard
