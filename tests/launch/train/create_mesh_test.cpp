// What create_mesh settles beside the layout.
#include "launch/train/create_mesh.h"

#include <functional>
#include <map>
#include <mutex>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/support/little_address_space.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

RunConfig small_config() {
  RunConfig config;
  config.model.width = 16;
  config.model.moe.experts = 4;
  config.model.moe.experts_per_token = 2;
  config.model.moe.expert_width = 8;
  config.train.global_batch = 4;
  config.data.sequence = 8;
  config.parallel.expert = 2;
  return config;
}

// body(mesh) on two ranks, on these nodes; → the lines that rank 0 was told.
std::vector<std::string> told(const RunConfig& config, const std::function<void(const Mesh&)>& body,
                              std::vector<int> nodes = {0, 0}) {
  std::mutex mutex;
  std::vector<std::string> lines;
  run_ranks(2,
            [&](Communicator& world) {
              const auto tell = [&](const std::string& line) {
                const std::lock_guard lock(mutex);
                if (world.rank() == 0) lines.push_back(line);
              };
              const MeshShape shape = value_or_throw(resolve_mesh(config, 2));
              body(*value_or_throw(create_mesh(config, shape, c10::kCPU, world, tell)));
            },
            {.timeout = absl::Minutes(2), .nodes = std::move(nodes)});
  return lines;
}

TEST(CreateMesh, RanksOfAHostShareMemoryUnlessToldNotTo) {
  RunConfig config = small_config();
  EXPECT_THAT(told(config, [](const Mesh& mesh) { EXPECT_NE(mesh.shared_memory(), nullptr); }), IsEmpty());
  config.parallel.shared_memory = false;
  EXPECT_THAT(told(config, [](const Mesh& mesh) { EXPECT_EQ(mesh.shared_memory(), nullptr); }), IsEmpty());
  config = small_config();
  config.model.moe.experts = 0;
  EXPECT_THAT(told(config, [](const Mesh& mesh) { EXPECT_EQ(mesh.shared_memory(), nullptr); }), IsEmpty());
}

TEST(CreateMesh, SaysWhyRowsGoByMessages) {
  const LittleAddressSpace little;
  EXPECT_THAT(told(small_config(), [](const Mesh& mesh) { EXPECT_EQ(mesh.shared_memory(), nullptr); }),
              ElementsAre(HasSubstr("dispatch    by messages within hosts too: no addresses for shared memory")));
}

TEST(CreateMesh, NothingIsCutIntoChunksWhereRanksShareMemory) {
  RunConfig config = small_config();
  config.parallel.dispatch_chunks = 0;
  EXPECT_THAT(told(config, [](const Mesh& mesh) { EXPECT_EQ(mesh.shape().dispatch_chunks, 1); }),
              ElementsAre(HasSubstr("chunks      1")));
}

TEST(CreateMesh, ChunksBetweenHostsAreAsTheModelSaysAndTheShapesThoseOfATrainingPart) {
  RunConfig config = small_config();
  config.parallel.dispatch_chunks = 0;
  const int64_t part = config.part_tokens();
  std::string settled;
  const auto body = [&](const Mesh& mesh) {
    const int chunks = mesh.dispatch_chunks(part);
    EXPECT_THAT(chunks, AnyOf(1, 2, 4, 8, 16));
    EXPECT_EQ(mesh.shape().dispatch_chunks, chunks);
    EXPECT_THAT(mesh.dispatch_chunks(1 << 20), AnyOf(1, 2, 4, 8, 16));
    if (mesh.world().rank() == 0) settled = absl::StrCat("chunks      ", chunks, ", as");
  };
  const std::vector<std::string> lines = told(config, body, {0, 1});
  EXPECT_THAT(lines, ElementsAre(HasSubstr(settled)));

  config.parallel.dispatch_chunks = 3;
  EXPECT_THAT(told(config,
                   [](const Mesh& mesh) {
                     EXPECT_EQ(mesh.shape().dispatch_chunks, 3);
                     EXPECT_EQ(mesh.dispatch_chunks(1), 3);
                   },
                   {0, 1}),
              IsEmpty());
  config.parallel.dispatcher = "auto";
  EXPECT_THAT(told(config, [](const Mesh& mesh) { EXPECT_EQ(mesh.dispatch_chunks(1), 3); }, {0, 1}),
              ElementsAre(HasSubstr("dispatcher")));
}

TEST(CreateMesh, RefusesMoreExpertsThanADeviceCounts) {
  RunConfig config = small_config();
  config.model.moe.experts = 12290;
  run_ranks(2, [&](Communicator& world) {
    const MeshShape shape = value_or_throw(resolve_mesh(config, 2));
    const absl::Status refused = create_mesh(config, shape, c10::kCUDA, world).status();
    EXPECT_EQ(error_category(refused), ErrorCategory::kBadConfig);
    EXPECT_THAT(refused.message(), HasSubstr("model.moe.experts=12290: on a device at most 12288"));
    EXPECT_TRUE(create_mesh(config, shape, c10::kCPU, world).ok());
  });
}

TEST(CreateMesh, TakesTheFastestDispatcherOfATrialAndTellsTheTimes) {
  RunConfig config = small_config();
  config.parallel.dispatcher = "auto";
  std::string settled;
  const std::vector<std::string> lines = told(config, [&](const Mesh& mesh) {
    if (mesh.world().rank() == 0) settled = dispatcher_name(mesh.shape().dispatcher);
  });
  ASSERT_EQ(lines.size(), 1);
  std::smatch taken;
  ASSERT_TRUE(std::regex_match(lines[0], taken, std::regex("dispatcher  (\\w+), the fastest in a trial: (.*)")));
  EXPECT_EQ(taken[1], settled);
  const std::string trials = taken[2];
  std::map<std::string, double> milliseconds;
  const std::regex one("(\\w+) ([0-9.]+) ms");
  for (std::sregex_iterator it(trials.begin(), trials.end(), one), end; it != end; ++it) {
    milliseconds[(*it)[1]] = std::stod((*it)[2]);
  }
  ASSERT_GT(milliseconds.size(), 1);
  ASSERT_TRUE(milliseconds.contains(settled));
  for (const auto& [kind, ms] : milliseconds) EXPECT_LE(milliseconds[settled], ms) << kind;
}

}  // namespace
}  // namespace switchyard
