// The transport over MPI's point-to-point messages. Needs MPI_THREAD_MULTIPLE. Internal to runtime/comm.
#pragma once

#include <memory>
#include <string>

#include <absl/status/statusor.h>

#include "runtime/comm/transport.h"

namespace switchyard {

// Collective over MPI_COMM_WORLD, on a communicator of its own.
absl::StatusOr<std::shared_ptr<Transport>> make_mpi_world_transport();

std::string mpi_error_text(int code);

}  // namespace switchyard
