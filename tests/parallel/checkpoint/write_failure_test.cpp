// A write that fails: the same status on all ranks, nothing of the new checkpoint, the old one as it was.
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>

#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/write_checkpoint.h"
#include "runtime/base/status.h"
#include "tests/parallel/checkpoint/parts.h"
#include "tests/support/ranks.h"
#include "tests/support/small_disk.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::vector<int64_t> kShape = {300, 1000};

using PartsOf = std::function<std::vector<TensorPart>(int rank)>;

std::vector<TensorPart> sound_parts(int rank) {
  // Rank 2 has far more than the others.
  const std::vector<int64_t> starts = {0, 1, 2, 300};
  const Box box{{starts[rank], 0}, {starts[rank + 1] - starts[rank], 1000}};
  return {part_of("w", counted(kShape, at::kFloat), box)};
}

// The status that all three ranks got.
absl::Status write(const std::filesystem::path& root, int64_t step, const PartsOf& parts_of = sound_parts,
                   const std::string& run_state = "{}") {
  std::vector<absl::Status> statuses(3);
  run_ranks(3, [&](Communicator& world) {
    statuses[world.rank()] = write_checkpoint(root, step, parts_of(world.rank()), run_state, world, {.keep = 1});
  });
  EXPECT_EQ(statuses[0], statuses[1]);
  EXPECT_EQ(statuses[0], statuses[2]);
  return statuses[0];
}

// Only step 100, and it can be read.
void expect_old_one(const std::filesystem::path& root) {
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(root), {}), 2);  // and the link to it
  const auto latest = find_latest(root);
  ASSERT_TRUE(latest.ok()) << latest.status();
  ASSERT_NE(latest->checkpoint, nullptr);
  EXPECT_EQ(latest->checkpoint->step(), 100);
  const TensorPart wanted = wanted_part("w", counted(kShape, at::kFloat), Box::whole(kShape));
  EXPECT_TRUE(latest->checkpoint->read({&wanted, 1}).ok());
  EXPECT_TRUE(at::equal(wanted.data, counted(kShape, at::kFloat)));
}

// Files of this process may not grow beyond a limit; a write beyond it fails like one to a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  sighandler_t handler_;
  rlimit before_;
};

TEST(CheckpointWriteFailure, OfOneRankIsThatOfAll) {
  TemporaryFolder folder;
  ASSERT_TRUE(write(folder.path(), 100).ok());
  absl::Status status;
  {
    const FileSizeLimit limit(64 << 10);
    status = write(folder.path(), 200);
  }
  EXPECT_EQ(error_category(status), ErrorCategory::kIo);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("rank 2"), HasSubstr("boxes-00002-of-00003.safetensors"), HasSubstr("File too large")));
  expect_old_one(folder.path());
}

TEST(CheckpointWriteFailure, OfTheManifest) {
  TemporaryFolder folder;
  ASSERT_TRUE(write(folder.path(), 100).ok());
  const absl::Status status = write(folder.path(), 200, sound_parts, "not JSON");
  EXPECT_EQ(error_category(status), ErrorCategory::kUsage);
  expect_old_one(folder.path());
}

TEST(CheckpointWriteFailure, FullDisk) {
  TemporaryFolder folder;
  const SmallDisk disk(folder.path(), "2m");
  if (!disk.mounted()) GTEST_SKIP() << "may not mount a file system";
  ASSERT_TRUE(write(folder.path(), 100).ok());
  const absl::Status status = write(folder.path(), 200);
  EXPECT_EQ(error_category(status), ErrorCategory::kIo);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("a checkpoint needs 12"), HasSubstr("are free in"), HasSubstr("No space left on device"),
                    HasSubstr("free space there, or choose a folder")));
  expect_old_one(folder.path());
}

TEST(CheckpointWriteFailure, UnusableFolder) {
  TemporaryFolder folder;
  std::ofstream(folder / "file") << "x";
  const absl::Status status = write(folder / "file/checkpoints", 100);
  EXPECT_EQ(error_category(status), ErrorCategory::kIo);
  EXPECT_THAT(std::string(status.message()), HasSubstr("file/checkpoints"));
}

TEST(CheckpointWriteFailure, PartsThatMakeNoWhole) {
  TemporaryFolder folder;
  ASSERT_TRUE(write(folder.path(), 100).ok());
  const at::Tensor whole = counted(kShape, at::kFloat);
  const auto expect_refused = [&](const PartsOf& parts_of) {
    const absl::Status status = write(folder.path(), 200, parts_of);
    EXPECT_EQ(error_category(status), ErrorCategory::kInternal);
    EXPECT_THAT(std::string(status.message()), HasSubstr("\"w\""));
    expect_old_one(folder.path());
  };
  expect_refused([&](int) { return std::vector{part_of("w", whole)}; });
  expect_refused([&](int rank) { return rank == 1 ? std::vector<TensorPart>() : sound_parts(rank); });
  expect_refused([&](int rank) {
    std::vector<TensorPart> parts = sound_parts(rank);
    if (rank == 1) parts[0] = part_of("w", whole.to(at::kDouble), parts[0].box);
    return parts;
  });
}

}  // namespace
}  // namespace switchyard
