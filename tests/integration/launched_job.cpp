#include "tests/integration/launched_job.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/folder.h"

namespace switchyard {
namespace {

constexpr char kConfig[] = R"(
run: {device: cpu, threads: 1, peak_gflops: 1}
model:
  width: 16
  layers: 2
  vocabulary: 61
  attention: {heads: 4, kv_heads: 2, head_width: 4}
  feed_forward: {width: 24}
  moe: {first_dense: 1, experts: 4, experts_per_token: 2, expert_width: 12}
data: {train: random, sequence: 16}
train: {steps: 400, global_batch: 4, precision: fp32, validate_every: 0}
optimizer: {lr: 0.001}
parallel: {expert: 2}
checkpoint: {every: 20, keep: 2}
communication: {timeout: 60}
)";

std::string content(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Of a running process, or -1.
pid_t parent_of(const std::filesystem::path& process) {
  const std::string stat = content(process / "stat");  // pid (name) state parent …
  const size_t name_end = stat.rfind(") ");
  return name_end == std::string::npos ? -1 : static_cast<pid_t>(std::atol(stat.c_str() + name_end + 4));
}

}  // namespace

LaunchedJob::LaunchedJob(int ranks, const std::vector<std::string>& arguments, const std::filesystem::path& folder)
    : output_(folder / "output") {
  std::vector<std::string> words = {SWITCHYARD_SOURCE "/tests/support/mpirun.sh", std::to_string(ranks)};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const int out = ::open(output_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  pid_ = ::fork();
  if (pid_ < 0 || out < 0) throw std::runtime_error("cannot start mpirun");
  if (pid_ == 0) {
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execv(pointers[0], pointers.data());
    ::_exit(127);
  }
  ::close(out);
}

LaunchedJob::~LaunchedJob() {
  if (!running()) return;
  for (const pid_t rank : ranks()) ::kill(rank, SIGKILL);
  ::kill(pid_, SIGTERM);
  wait();
}

bool LaunchedJob::running() {
  if (!ended_) ended_ = ::waitpid(pid_, &state_, WNOHANG) == pid_;
  return !ended_;
}

int LaunchedJob::wait() {
  while (!ended_) ended_ = ::waitpid(pid_, &state_, 0) == pid_ || errno != EINTR;
  return WIFEXITED(state_) ? WEXITSTATUS(state_) : 128 + WTERMSIG(state_);
}

std::string LaunchedJob::output() const {
  return content(output_);
}

std::vector<pid_t> LaunchedJob::ranks() const {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const pid_t process = static_cast<pid_t>(std::atol(entry.path().filename().c_str()));
    if (process > 0 && parent_of(entry.path()) == pid_) found.push_back(process);
  }
  return found;
}

SmallRun::SmallRun(std::filesystem::path folder) : folder_(std::move(folder)) {
  std::ofstream(folder_ / "small.yaml") << kConfig;
}

std::vector<std::string> SmallRun::command(const std::vector<std::string>& overrides) const {
  std::vector<std::string> words = {SWITCHYARD_PROGRAM, "train", folder_ / "small.yaml",
                                    "run.dir=" + (folder_ / "run").string()};
  words.insert(words.end(), overrides.begin(), overrides.end());
  return words;
}

SmallRun::Outcome SmallRun::finish(const std::vector<std::string>& overrides) const {
  LaunchedJob job(2, command(overrides), folder_);
  const int code = job.wait();
  return {code, job.output()};
}

std::vector<int64_t> SmallRun::steps() const {
  std::ifstream file(folder_ / "run" / "metrics.jsonl");
  std::vector<int64_t> found;
  for (std::string line; std::getline(file, line) && !file.eof();) {
    found.push_back(nlohmann::json::parse(line)["step"]);
  }
  return found;
}

bool SmallRun::reaches(int64_t step, LaunchedJob& job) const {
  while (true) {
    const std::vector<int64_t> done = steps();
    if (!done.empty() && done.back() >= step) return true;
    if (!job.running()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

std::vector<int64_t> SmallRun::saved_steps() const {
  std::vector<int64_t> found;
  const auto listing = list_checkpoints(checkpoints());
  if (!listing.ok()) return found;
  for (const int64_t step : listing->steps) {
    if (Checkpoint::open(checkpoint_path(checkpoints(), step)).ok()) found.push_back(step);
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace switchyard
