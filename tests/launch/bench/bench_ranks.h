// A benchmark on ranks as threads, with what its wires tell.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <gtest/gtest.h>

#include "launch/trace/listener.h"
#include "runtime/comm/host_communicator.h"
#include "tests/support/ranks.h"

namespace switchyard {

// What rank 0 finds. `nodes`: as LoopbackOptions has it. `groups`: whose bytes count.
template <typename Result, typename Bench>
Result bench_on_ranks(int ranks, const std::vector<int>& nodes, const std::string& groups, const Bench& bench) {
  Result result;
  run_ranks(ranks,
            [&](Communicator& world) {
              Recorder recorder;
              auto& wires = dynamic_cast<HostCommunicator&>(world);
              wires.observe(record_bytes(recorder, groups));
              const absl::StatusOr<Result> mine = bench(recorder, world);
              ASSERT_TRUE(mine.ok()) << mine.status();
              if (world.rank() == 0) result = *mine;
              wires.observe(nullptr);
            },
            {.timeout = absl::Minutes(2), .nodes = nodes});
  return result;
}

}  // namespace switchyard
