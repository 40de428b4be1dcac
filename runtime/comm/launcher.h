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

}  // namespace switchyard
