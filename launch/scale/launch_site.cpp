#include "launch/scale/launch_site.h"

#include <algorithm>
#include <optional>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

#include "launch/start/binding.h"
#include "runtime/base/status.h"
#include "runtime/comm/launcher.h"
#include "runtime/storage/file.h"

namespace switchyard {
namespace {

constexpr int64_t kMostHostfileBytes = 1 << 20;

std::string counted(int number, const std::string& what) {
  return absl::StrCat(number, " ", what, number == 1 ? "" : "s");
}

// Slots of a host's line; 0 where it does not say.
int slots_of(absl::string_view line) {
  for (absl::string_view word : absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty())) {
    int slots = 0;
    if (absl::ConsumePrefix(&word, "slots=") && absl::SimpleAtoi(word, &slots)) return slots;
  }
  return 0;
}

}  // namespace

int LaunchSite::threads(int ranks) const {
  if (kind == Site::kSlurm) return std::max(1, cpus_a_task);
  const int sharers = kind == Site::kHostfile && slots_of_host > 0 ? std::min(ranks, slots_of_host) : ranks;
  return std::max(1, cores / sharers);
}

absl::Status LaunchSite::check(int ranks) const {
  if (slots == 0 || ranks <= slots) return absl::OkStatus();
  return error(ErrorCategory::kUsage, absl::StrCat("--ranks ", ranks, ": only ", slots, " fit: ", describe()));
}

std::vector<std::string> LaunchSite::words(int ranks, int threads) const {
  const std::string count = absl::StrCat(ranks);
  if (kind == Site::kSlurm) {
    std::vector<std::string> words = {"srun", "--mpi=pmix", "--cpu-bind=cores", "--ntasks=" + count,
                                      absl::StrCat("--cpus-per-task=", threads)};
    if (slots_of_host > 0) {
      words.push_back(absl::StrCat("--nodes=", (ranks + slots_of_host - 1) / slots_of_host));
      words.push_back(absl::StrCat("--ntasks-per-node=", std::min(ranks, slots_of_host)));
    }
    return words;
  }
  std::vector<std::string> words = {"mpirun", "-n", count};
  std::vector<std::string> more = {"--bind-to", "none"};
  if (kind == Site::kHostfile) {
    more = {"--hostfile", hostfile, "--map-by", absl::StrCat("slot:pe=", threads), "--bind-to", "core"};
  } else if (ranks > cores) {
    more.insert(more.end(), {"--oversubscribe", "--mca", "mpi_yield_when_idle", "1"});
  }
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string LaunchSite::describe() const {
  if (kind == Site::kHost) return absl::StrCat("this host, ", counted(cores, "core"));
  const std::string room = slots > 0 ? ", " + counted(slots, "slot") : "";
  return (kind == Site::kHostfile ? "the hosts of " + hostfile : std::string("the Slurm allocation")) + room;
}

absl::Status read_hostfile(std::string_view text, LaunchSite& site) {
  site.hosts = text;
  bool all_say = true, any = false;
  for (absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    any = true;
    const int slots = slots_of(line);
    all_say = all_say && slots > 0;
    site.slots += slots;
    site.slots_of_host = std::max(site.slots_of_host, slots);
  }
  if (!any) {
    return error(ErrorCategory::kBadData,
                 absl::StrCat("hostfile ", site.hostfile, " names no host: a line each, such as node-1 slots=8"));
  }
  if (!all_say) site.slots = site.slots_of_host = 0;
  return absl::OkStatus();
}

absl::StatusOr<LaunchSite> find_site(const std::string& hostfile,
                                     const std::function<const char*(const char*)>& variable) {
  if (const std::optional<Launcher> launcher = find_launcher(variable)) {
    return error(ErrorCategory::kUsage,
                 absl::StrCat("scale starts the jobs that it measures: run it without ", launcher->name, ", once"));
  }
  LaunchSite site{.cores = own_binding().cores, .hostfile = hostfile};
  if (const std::optional<Allocation> allocation = find_allocation(variable)) {
    if (!hostfile.empty()) {
      return error(ErrorCategory::kUsage, "--hostfile: within a Slurm allocation the hosts are Slurm's; leave it out");
    }
    site.kind = Site::kSlurm;
    site.slots = allocation->tasks;
    site.slots_of_host = allocation->tasks_of_host;
    site.cpus_a_task = allocation->cpus_a_task;
  } else if (!hostfile.empty()) {
    site.kind = Site::kHostfile;
    SY_ASSIGN_OR_RETURN(const std::string text, read_text_file(hostfile, kMostHostfileBytes));
    SY_RETURN_IF_ERROR(read_hostfile(text, site));
  }
  return site;
}

}  // namespace switchyard
