// Checkpoints of every version of the format, kept under tests/golden, are restored on any layout and train on as the
// run that wrote them did.
#include <fstream>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "launch/config/binder.h"
#include "launch/train/train.h"
#include "parallel/checkpoint/checkpoint.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

const std::filesystem::path kGolden = SWITCHYARD_SOURCE "/tests/golden/checkpoint";

std::vector<nlohmann::json> records(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::vector<nlohmann::json> found;
  for (std::string line; std::getline(stream, line);) found.push_back(nlohmann::json::parse(line));
  return found;
}

class OldVersions : public testing::TestWithParam<int> {};

TEST_P(OldVersions, GoOn) {
  const std::filesystem::path saved = kGolden / absl::StrCat("v", GetParam()) / "step-00000004";
  const auto checkpoint = Checkpoint::open(saved);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->manifest().version, GetParam());

  const std::vector<nlohmann::json> expected = records(kGolden / "metrics.jsonl");
  ASSERT_EQ(expected.size(), 6U);
  const std::pair<int, const char*> layouts[] = {
      {1, "parallel.expert=1"}, {3, "parallel.expert=3"}, {2, "parallel.expert_tensor=2"}};
  for (const auto& [ranks, layout] : layouts) {
    SCOPED_TRACE(ranks);
    TemporaryFolder folder;
    run_ranks(ranks, [&, layout = layout](Communicator& world) {
      const auto config = read_config<RunConfig>(
          kGolden / "config.yaml",
          std::vector<std::string>{"parallel.expert=1", layout, "run.dir=" + (folder / "run").string(),
                                   "checkpoint.resume=" + saved.string()});
      ASSERT_TRUE(config.ok()) << config.status();
      const absl::Status status = train({.config = *config, .command = "the command"}, world);
      ASSERT_TRUE(status.ok()) << status;
    });
    const std::vector<nlohmann::json> found = records(folder / "run/metrics.jsonl");
    ASSERT_EQ(found.size(), 2U);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(found[i]["step"], expected[4 + i]["step"]);
      EXPECT_EQ(found[i]["lr"], expected[4 + i]["lr"]);
      EXPECT_NEAR(found[i]["loss"], expected[4 + i]["loss"], 1e-9);
      EXPECT_NEAR(found[i]["grad_norm"], expected[4 + i]["grad_norm"], 1e-9);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Versions, OldVersions, testing::Values(1, 2),
                         [](const auto& of) { return absl::StrCat("Version", of.param); });

}  // namespace
}  // namespace switchyard
