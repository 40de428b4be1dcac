// For tests that mpirun starts (switchyard_test with RANKS): every rank runs all tests of the program, in the same
// order. The first test that fails on a rank ends the job.
#pragma once

#include "runtime/comm/communicator.h"

namespace switchyard {

// All ranks that mpirun started.
Communicator& mpi_world();

}  // namespace switchyard
