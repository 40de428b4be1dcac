// Trains, damages and reads runs for the crash campaign in milliseconds: LibTorch is loaded once, each run is a forked
// child whose ranks are threads over loopback, and what it runs is train(), as the program does. Commands are JSON
// objects, one a line on stdin; each is answered by one line on stdout.
//   {"do": "run", "config": PATH, "overrides": […], "ranks": N, "output": PATH, "shim": PLAN, "seconds": LIMIT}
//     → {"exit": CODE} or {"signal": NUMBER}; PLAN is for io_shim.cpp, if that is loaded
//   {"do": "read", "folder": CHECKPOINTS}                    → see read_all()
//   {"do": "flip", "folder": CHECKPOINTS, "step": N, "file": NAME, "bits": […]}    → see flip_each()
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/cli/report.h"
#include "launch/config/binder.h"
#include "launch/train/train.h"
#include "runtime/base/status.h"
#include "runtime/comm/loopback.h"
#include "tests/integration/crash/stored_state.h"

namespace switchyard {
namespace {

using Json = nlohmann::json;

// Rank 0's exit code, which all ranks share unless something is badly wrong.
int train_on_threads(const Json& command) {
  const auto overrides = command.at("overrides").get<std::vector<std::string>>();
  absl::StatusOr<RunConfig> config = read_config<RunConfig>(command.at("config").get<std::string>(), overrides);
  if (!config.ok()) {
    std::fputs(error_report(config.status(), "").c_str(), stderr);
    return exit_code(config.status());
  }
  const int ranks = command.at("ranks").get<int>();
  at::set_num_threads(1);  // LibTorch makes its thread pool anew after a fork, at the first call, and not thread-safely
  Loopback loopback(ranks, {.timeout = absl::Seconds(config->communication.timeout), .nodes = {}});
  std::vector<absl::Status> statuses(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      at::set_num_threads(1);
      try {
        statuses[rank] = train({.config = *config, .command = "the same command"}, loopback.rank(rank));
      } catch (...) {
        statuses[rank] = status_of(std::current_exception());
        loopback.abort(statuses[rank]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (!statuses[0].ok()) std::fputs(error_report(statuses[0], "").c_str(), stderr);
  return exit_code(statuses[0]);
}

void arm_shim(const std::string& plan) {
  const auto arm = reinterpret_cast<void (*)(const char*)>(::dlsym(RTLD_DEFAULT, "crash_shim_arm"));
  if (arm != nullptr && !plan.empty()) arm(plan.c_str());
}

Json run(const Json& command) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int output = ::open(command.at("output").get<std::string>().c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ::dup2(output, 1);
    ::dup2(output, 2);
    ::alarm(command.at("seconds").get<unsigned>());  // a run that hangs is killed by SIGALRM
    arm_shim(command.at("shim").get<std::string>());
    const int code = train_on_threads(command);
    std::cout.flush();
    std::fflush(nullptr);
    ::_exit(code);
  }
  int state = 0;
  if (child < 0 || ::waitpid(child, &state, 0) != child) throw std::runtime_error("cannot start a child");
  if (WIFSIGNALED(state)) return {{"signal", WTERMSIG(state)}};
  return {{"exit", WEXITSTATUS(state)}};
}

Json answer(const std::string& line) {
  const Json command = Json::parse(line);
  const std::string what = command.at("do").get<std::string>();
  if (what == "run") return run(command);
  const std::string folder = command.at("folder").get<std::string>();
  if (what == "read") return read_all(folder);
  if (what == "flip") {
    return flip_each(folder, command.at("step").get<int64_t>(), command.at("file").get<std::string>(),
                     command.at("bits").get<std::vector<int64_t>>());
  }
  throw std::runtime_error("unknown command " + what);
}

}  // namespace
}  // namespace switchyard

int main() {
  at::set_num_threads(1);
  for (std::string line; std::getline(std::cin, line);) {
    try {
      std::cout << switchyard::answer(line).dump() << std::endl;
    } catch (const std::exception& e) {
      std::cout << nlohmann::json{{"error", e.what()}}.dump() << std::endl;
    }
  }
  return 0;
}
