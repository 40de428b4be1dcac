#include <chrono>
#include <random>
#include <system_error>
#include <thread>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>

#include "launch/start/checks.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"
#include "runtime/storage/atomic_file.h"
#include "runtime/storage/directory.h"
#include "runtime/storage/file.h"

namespace switchyard {
namespace {

// Unlike any name that was looked up before, so that no client of a network file system remembers it as missing.
std::filesystem::path probe_in(const std::filesystem::path& folder, const std::string& nonce) {
  return folder / absl::StrCat(".start-", nonce);
}

std::string draw_nonce() {
  std::random_device random;
  return absl::StrCat(absl::Hex(random(), absl::kZeroPad8), absl::Hex(random(), absl::kZeroPad8));
}

absl::Status write_probe(const std::filesystem::path& folder, const std::string& nonce) {
  const absl::Status created = create_folders(folder);
  if (!created.ok()) {
    return error(ErrorCategory::kIo, absl::StrCat(created.message(), "; set run.dir to a place that can be written"));
  }
  return annotate(write_file_atomically(probe_in(folder, nonce), nonce), "the run directory cannot be written");
}

bool sees_probe(const std::filesystem::path& folder, const std::string& nonce, absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (true) {
    const absl::StatusOr<std::string> text =
        read_text_file(probe_in(folder, nonce), static_cast<int64_t>(nonce.size()));
    if (text.ok() && *text == nonce) return true;
    if (absl::Now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

}  // namespace

absl::Status check_run_folder(Communicator& world, const std::vector<RankFacts>& facts,
                              const std::filesystem::path& folder, absl::Duration patience) {
  const bool writer = world.rank() == 0;
  const std::string my_nonce = writer ? draw_nonce() : "";
  SY_RETURN_IF_ERROR(agree(world, writer ? write_probe(folder, my_nonce) : absl::OkStatus()));
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> nonces, all_gather_texts(world, my_nonce));
  const bool seen = sees_probe(folder, nonces.front(), patience);
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> answers, all_gather_texts(world, seen ? "seen" : ""));
  if (writer) {
    std::error_code ignored;
    std::filesystem::remove(probe_in(folder, my_nonce), ignored);
  }
  std::vector<int> blind;
  for (size_t rank = 0; rank < answers.size(); ++rank) {
    if (answers[rank].empty()) blind.push_back(static_cast<int>(rank));
  }
  if (blind.empty()) return absl::OkStatus();
  return error(
      ErrorCategory::kBadConfig,
      absl::StrCat("the run directory ", folder.string(), " is not the same on all hosts: ", who(facts, blind),
                   " cannot see what ", who(facts, {0}), " wrote there; set run.dir to a file system that all share"));
}

}  // namespace switchyard
