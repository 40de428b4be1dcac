// Open MPI's shared memory on a host: a file in /dev/shm for each process (vader_segment.HOST.USER.JOB.RANK), which
// stays there for ever when mpirun or the process is killed. MPI needs the names only until the host's processes have
// mapped each other's, and once more in MPI_Finalize, which complains if there is nothing to remove.
#pragma once

#include <string>
#include <vector>

namespace switchyard {

class SharedSegments {
 public:
  // Takes this process's names away. To be called between MPI_Init and MPI_Finalize, after a barrier of all ranks.
  void hide();
  // Gives them back, of empty files, for MPI_Finalize.
  void show() const;

 private:
  std::vector<std::string> names_;
};

}  // namespace switchyard
