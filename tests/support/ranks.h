// Ranks as threads: a test body runs once for each rank of a loopback world, all at the same time.
#pragma once

#include <functional>

#include "runtime/comm/communicator.h"
#include "runtime/comm/loopback.h"

namespace switchyard {

// Runs `body` on `ranks` threads, each with one ATen thread, and returns when all have ended. An exception in a rank,
// or a fatal gtest failure, fails the test by the rank's name and makes the communication of the others fail, so that
// none waits for it.
void run_ranks(int ranks, const std::function<void(Communicator& world)>& body,
               const LoopbackOptions& options = {.timeout = absl::Minutes(2), .nodes = {}});

}  // namespace switchyard
