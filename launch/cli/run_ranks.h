// A subcommand on all ranks of a job, and how the job ends.
#pragma once

#include <functional>

#include <absl/status/status.h>

#include "runtime/comm/mpi.h"

namespace switchyard {

// Starts MPI, runs `command` and returns the exit code. An error that all ranks hold is told by rank 0, and every rank
// returns. Any other error leaves peers waiting: the rank tells it and aborts the whole job with its exit code.
int run_ranks(int argc, char** argv, const std::function<absl::Status(MpiSession&)>& command);

}  // namespace switchyard
