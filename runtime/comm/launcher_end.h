// Open MPI's mpirun may wait for ever for a host that cannot be reached any more: after an abort, too, so that nobody
// is told that the job has failed.
#pragma once

#include <absl/time/time.h>

namespace switchyard {

// Called by a process that is about to end: where the parent that started it is mpirun, or Open MPI 4's daemon of other
// hosts than mpirun's, and is still there after `grace`, it gets SIGTERM, and 5 seconds later SIGKILL. A process of its
// own sees to it. Does nothing where the system cannot watch processes by descriptors (Linux before 5.9).
void end_launcher_after(absl::Duration grace);

}  // namespace switchyard
