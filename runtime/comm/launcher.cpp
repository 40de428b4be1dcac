#include "runtime/comm/launcher.h"

#include <string_view>

#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>

namespace switchyard {
namespace {

using Environment = std::function<const char*(const char*)>;

std::optional<int> integer(const Environment& variable, const char* name) {
  const char* text = variable(name);
  int value = 0;
  if (text == nullptr || !absl::SimpleAtoi(text, &value)) return std::nullopt;
  return value;
}

std::optional<Launcher> from_pair(const Environment& variable, const char* name, const char* rank, const char* size) {
  const auto local_rank = integer(variable, rank), local_size = integer(variable, size);
  if (!local_rank || !local_size) return std::nullopt;
  return Launcher{name, *local_rank, *local_size};
}

// The count for host `index` in Slurm's "4(x2),3": four on each of two hosts, three on the next.
std::optional<int> tasks_on_host(absl::string_view text, int index) {
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::pair<absl::string_view, absl::string_view> pieces = absl::StrSplit(part, absl::MaxSplits("(x", 1));
    int tasks = 0, hosts = 1;
    if (!absl::SimpleAtoi(pieces.first, &tasks)) return std::nullopt;
    const absl::string_view repeat = pieces.second.substr(0, pieces.second.find(')'));
    if (!repeat.empty() && !absl::SimpleAtoi(repeat, &hosts)) return std::nullopt;
    if (index < hosts) return tasks;
    index -= hosts;
  }
  return std::nullopt;
}

// A batch script itself has a SLURM_LOCALID too; only what srun starts belongs to a step.
std::optional<Launcher> from_slurm(const Environment& variable) {
  if (!integer(variable, "SLURM_STEP_ID")) return std::nullopt;
  const auto local_rank = integer(variable, "SLURM_LOCALID"), host = integer(variable, "SLURM_NODEID");
  const char* tasks = variable("SLURM_STEP_TASKS_PER_NODE");
  if (!local_rank || !host || tasks == nullptr) return std::nullopt;
  const auto local_size = tasks_on_host(tasks, *host);
  if (!local_size) return std::nullopt;
  return Launcher{"srun", *local_rank, *local_size};
}

}  // namespace

std::optional<Launcher> find_launcher(const Environment& variable) {
  // mpirun inside a Slurm allocation leaves both kinds of variables: its own are the nearer ones.
  if (auto found = from_pair(variable, "mpirun", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE")) {
    return found;
  }
  if (auto found = from_pair(variable, "mpiexec", "MPI_LOCALRANKID", "MPI_LOCALNRANKS")) return found;
  return from_slurm(variable);
}

std::optional<Allocation> find_allocation(const Environment& variable) {
  if (!integer(variable, "SLURM_JOB_ID")) return std::nullopt;
  return Allocation{.tasks = integer(variable, "SLURM_NTASKS").value_or(0),
                    .tasks_of_host = integer(variable, "SLURM_NTASKS_PER_NODE").value_or(0),
                    .cpus_a_task = integer(variable, "SLURM_CPUS_PER_TASK").value_or(0)};
}

}  // namespace switchyard
