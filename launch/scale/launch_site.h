// Where the ranks of jobs come from, and the words that start a job there: mpirun on this host as launch/train.sh does,
// on the hosts of a hostfile, or srun within a Slurm allocation as launch/slurm/train.sbatch does.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

namespace switchyard {

enum class Site { kHost, kHostfile, kSlurm };

struct LaunchSite {
  Site kind = Site::kHost;
  int cores = 1;                          // of this host, that this process may use
  std::string hostfile = {}, hosts = {};  // its path and content
  // Hostfile and allocation. 0: it does not say.
  int slots = 0;          // ranks that there is room for
  int slots_of_host = 0;  // of the host with most of them
  int cpus_a_task = 0;    // allocation

  // A rank's, the same in every run of up to `ranks` ranks: the allocation's cores a task, or else the cores of a host
  // like this one over its share of the ranks; at least 1.
  int threads(int ranks) const;
  // Several ranks share a core. Only on this host: elsewhere ranks are bound to cores of their own.
  bool is_crowded(int ranks, int threads) const { return kind == Site::kHost && ranks * threads > cores; }
  // kUsage where there is no room for so many.
  absl::Status check(int ranks) const;
  // What stands before the program.
  std::vector<std::string> words(int ranks, int threads) const;
  std::string describe() const;
};

// `hostfile` may be empty; `variable`: std::getenv. kUsage within a job of mpirun or srun, where no other can be
// started, and for a hostfile within an allocation; kMissingInput, kBadData.
absl::StatusOr<LaunchSite> find_site(const std::string& hostfile,
                                     const std::function<const char*(const char*)>& variable);

// Slots of Open MPI's hostfile: "node-1 slots=8", # begins a comment. kBadData where no host is in it.
absl::Status read_hostfile(std::string_view text, LaunchSite& site);

}  // namespace switchyard
