// What the model of chunks is fitted to.
#include "launch/train/fit_chunks.h"

#include <mutex>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "launch/train/create_mesh.h"
#include "runtime/base/status.h"
#include "runtime/comm/host_communicator.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

// A token goes to two experts of each of two hosts.
RunConfig config_of_two_hosts() {
  RunConfig config;
  config.model.width = 64;
  config.model.moe.experts = 4;
  config.model.moe.experts_per_token = 4;
  config.model.moe.expert_width = 32;
  config.train.global_batch = 4;
  config.train.precision = "fp32";
  config.data.sequence = 32;
  config.parallel.expert = 2;
  return config;
}

struct Fitted {
  std::optional<ChunkModel> model;
  int64_t row_bytes = 0;  // that rank 0 sent to the other host
};

Fitted fit(const RunConfig& config, DispatcherKind kind, const std::vector<int>& nodes) {
  Fitted fitted;
  const auto body = [&](Communicator& world) {
    MeshShape shape = value_or_throw(resolve_mesh(config, 2));
    shape.dispatcher = kind;
    int64_t sent = 0;
    std::mutex mutex;
    auto& wires = dynamic_cast<HostCommunicator&>(world);
    wires.observe([&](const FinishedOperation& done) {
      const std::lock_guard lock(mutex);
      if (done.label.group.ends_with("/dispatch")) sent += done.remote_bytes;
    });
    const auto mesh = value_or_throw(create_mesh(config, shape, c10::kCPU, world));
    const auto model = value_or_throw(fit_chunks(config, *mesh, kind, c10::kCPU));
    throw_if_error(world.barrier().wait());
    wires.observe(nullptr);
    if (world.rank() == 0) fitted = {model, sent};
  };
  run_ranks(2, body, {.timeout = absl::Minutes(2), .nodes = nodes});
  return fitted;
}

TEST(FitChunks, TheWireIsThatOfTheDispatcher) {
  const RunConfig config = config_of_two_hosts();
  const Fitted straight = fit(config, DispatcherKind::kAllToAll, {0, 1});
  const Fitted once = fit(config, DispatcherKind::kDeduplicated, {0, 1});
  for (const Fitted* each : {&straight, &once}) {
    ASSERT_TRUE(each->model);
    EXPECT_EQ(each->model->tokens, config.part_tokens());
    EXPECT_GT(each->model->wire.time(1), 0);
    EXPECT_GT(each->model->compute.time(1), 0);
  }
  // Two rows a token and host, or one, of 64 numbers; beside them counts, and places and weights of those sent once.
  const int64_t tokens = 4 * (64 + 16 + 4);  // of a rank: four tries of each of three sizes
  const int64_t rows = 2 * tokens * 64 * 4;  // out and back
  EXPECT_GE(straight.row_bytes, 2 * rows);
  EXPECT_LT(straight.row_bytes, 2.2 * rows);
  EXPECT_GE(once.row_bytes, rows);
  EXPECT_LT(once.row_bytes, 1.4 * rows);
}

TEST(FitChunks, ThereIsNothingToHideWhereAllRanksShareMemory) {
  EXPECT_FALSE(fit(config_of_two_hosts(), DispatcherKind::kAllToAll, {0, 0}).model);
  EXPECT_TRUE(fit(config_of_two_hosts(), DispatcherKind::kDeduplicated, {0, 0}).model);
}

}  // namespace
}  // namespace switchyard
