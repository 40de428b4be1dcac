// Which checkpoints stay, and which names count.
#include "parallel/checkpoint/folder.h"

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/write_checkpoint.h"
#include "tests/parallel/checkpoint/parts.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::ElementsAre;

std::set<std::string> names_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

void write(const std::filesystem::path& root, int64_t step, int64_t keep, double value = 0, int64_t keep_every = 0) {
  run_ranks(1, [&](Communicator& world) {
    const TensorPart part = part_of("w", at::full({4}, value, at::kDouble));
    const absl::Status status =
        write_checkpoint(root, step, {&part, 1}, "{}", world, {.keep = keep, .keep_every = keep_every});
    ASSERT_TRUE(status.ok()) << status;
  });
}

double value_of(const std::filesystem::path& root, int64_t step) {
  const TensorPart wanted = wanted_part("w", at::zeros({4}, at::kDouble), Box::whole({4}));
  const auto checkpoint = Checkpoint::open(checkpoint_path(root, step));
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE((*checkpoint)->read({&wanted, 1}).ok());
  return wanted.data[0].item<double>();
}

TEST(CheckpointFolder, KeepsTheNewest) {
  TemporaryFolder folder;
  for (const int64_t step : {5, 10, 15, 20}) write(folder.path(), step, 2);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("latest", "step-00000015", "step-00000020"));
  write(folder.path(), 25, 0);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("latest", "step-00000015", "step-00000020", "step-00000025"));
  // What was just written stays, whatever its step.
  write(folder.path(), 1, 1);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("latest", "step-00000001"));
}

TEST(CheckpointFolder, KeepsEverySoMany) {
  TemporaryFolder folder;
  for (int64_t step = 5; step <= 40; step += 5) write(folder.path(), step, 2, 0, 15);
  EXPECT_THAT(names_in(folder.path()),
              ElementsAre("latest", "step-00000015", "step-00000030", "step-00000035", "step-00000040"));
}

TEST(CheckpointFolder, LatestLeadsToTheNewest) {
  TemporaryFolder folder;
  for (const int64_t step : {5, 10}) write(folder.path(), step, 1);
  EXPECT_EQ(std::filesystem::read_symlink(folder / kLatestName), "step-00000010");
  EXPECT_EQ((*Checkpoint::open(folder / kLatestName))->step(), 10);
  std::filesystem::remove(folder / kLatestName);
  EXPECT_EQ(find_latest(folder.path())->checkpoint->step(), 10);
}

TEST(CheckpointFolder, InvalidOnesDoNotCount) {
  TemporaryFolder folder;
  write(folder.path(), 10, 2);
  write(folder.path(), 20, 2);
  std::filesystem::remove(checkpoint_path(folder.path(), 20) / kManifestName);
  write(folder.path(), 30, 2);
  EXPECT_TRUE(Checkpoint::open(checkpoint_path(folder.path(), 10)).ok());
  EXPECT_TRUE(Checkpoint::open(checkpoint_path(folder.path(), 30)).ok());
}

TEST(CheckpointFolder, TheSameStepIsReplaced) {
  TemporaryFolder folder;
  write(folder.path(), 10, 0, 1.5);
  write(folder.path(), 10, 0, 2.5);
  EXPECT_EQ(value_of(folder.path(), 10), 2.5);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("latest", "step-00000010"));
}

TEST(CheckpointFolder, ListsOnlyItsOwnNames) {
  TemporaryFolder folder;
  for (const char* name : {"step-00000007", "step-123456789", "step-7", "step-0000000x", "step-", "other",
                           "step-012345678", "step-00000009.partial"}) {
    std::filesystem::create_directory(folder / name);
  }
  const auto listing = list_checkpoints(folder.path());
  ASSERT_TRUE(listing.ok()) << listing.status();
  EXPECT_THAT(listing->steps, ElementsAre(123456789, 7));
  EXPECT_THAT(listing->unfinished, ElementsAre("step-00000009.partial"));
  EXPECT_TRUE(list_checkpoints(folder / "none")->steps.empty());
}

TEST(CheckpointFolder, LeavesOtherFilesAlone) {
  TemporaryFolder folder;
  std::ofstream(folder / "notes.txt") << "mine";
  std::filesystem::create_directory(folder / "step-00000001.partial");
  for (const int64_t step : {5, 10}) write(folder.path(), step, 1);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("latest", "notes.txt", "step-00000010"));
}

}  // namespace
}  // namespace switchyard
