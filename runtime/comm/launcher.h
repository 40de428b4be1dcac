// What the launcher (mpirun, srun) says about this process in its environment; read here and nowhere else.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace switchyard {

struct Launcher {
  std::string name;
  int local_rank;  // among the processes that the launcher started on this host
  int local_size;  // their number
};

// Absent: this process was started by hand and is alone. `variable` gives an environment variable's value or null
// (std::getenv). Open MPI, MPICH and Intel MPI (Hydra), Slurm.
std::optional<Launcher> find_launcher(const std::function<const char*(const char*)>& variable);

// What Slurm has set aside for a batch script or a shell of salloc, in which srun starts jobs. 0: it was not asked for.
struct Allocation {
  int tasks, tasks_of_host, cpus_a_task;
};

// Absent outside an allocation.
std::optional<Allocation> find_allocation(const std::function<const char*(const char*)>& variable);

}  // namespace switchyard
