#include "runtime/storage/atomic_file.h"

#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "runtime/base/status.h"
#include "tests/support/small_disk.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

int files_in(const std::filesystem::path& folder) {
  return static_cast<int>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

TEST(AtomicFile, AppearsOnCommitOnly) {
  TemporaryFolder folder;
  {
    absl::StatusOr<AtomicFile> file = AtomicFile::create(folder / "a", 1000);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE(file->write("hello ", 6).ok());
    ASSERT_TRUE(file->write("world", 5).ok());
    EXPECT_FALSE(std::filesystem::exists(folder / "a"));
    ASSERT_TRUE(file->commit().ok());
  }
  EXPECT_EQ(*read_text_file(folder / "a", 100), "hello world");  // what was reserved too much is gone
  EXPECT_EQ(files_in(folder.path()), 1);
}

TEST(AtomicFile, DroppedLeavesTheOldOne) {
  TemporaryFolder folder;
  ASSERT_TRUE(write_file_atomically(folder / "a", "old").ok());
  {
    absl::StatusOr<AtomicFile> file = AtomicFile::create(folder / "a");
    ASSERT_TRUE(file.ok() && file->write("new", 3).ok());
  }
  EXPECT_EQ(*read_text_file(folder / "a", 100), "old");
  EXPECT_EQ(files_in(folder.path()), 1);
  ASSERT_TRUE(write_file_atomically(folder / "a", "new").ok());
  EXPECT_EQ(*read_text_file(folder / "a", 100), "new");
}

TEST(AtomicFile, RespectsTheMask) {
  TemporaryFolder folder;
  const mode_t before = ::umask(0027);
  ASSERT_TRUE(write_file_atomically(folder / "a", "x").ok());
  ::umask(before);
  EXPECT_EQ(static_cast<unsigned>(std::filesystem::status(folder / "a").permissions()), 0640U);
}

TEST(AtomicFile, NamesFileAndRemedy) {
  TemporaryFolder folder;
  const absl::Status missing = write_file_atomically(folder / "none/a", "x");
  EXPECT_EQ(error_category(missing), ErrorCategory::kMissingInput);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("none/a"));

  ASSERT_TRUE(write_file_atomically(folder / "file", "x").ok());
  const absl::Status inside = write_file_atomically(folder / "file/a", "x");
  EXPECT_EQ(error_category(inside), ErrorCategory::kIo);
  EXPECT_THAT(std::string(inside.message()), HasSubstr("a part of the path is not a folder"));
}

TEST(AtomicFile, FullDisk) {
  TemporaryFolder folder;
  const SmallDisk disk(folder.path(), "1m");
  if (!disk.mounted()) GTEST_SKIP() << "may not mount a file system";
  const std::vector<char> data(2 << 20);
  const absl::StatusOr<AtomicFile> reserved = AtomicFile::create(folder / "a", 2 << 20);
  EXPECT_EQ(error_category(reserved.status()), ErrorCategory::kIo);
  EXPECT_THAT(std::string(reserved.status().message()),
              testing::AllOf(HasSubstr("No space left"), HasSubstr(folder.path().string()), HasSubstr("free space")));
  {
    absl::StatusOr<AtomicFile> file = AtomicFile::create(folder / "a");
    ASSERT_TRUE(file.ok()) << file.status();
    const absl::Status full = file->write(data.data(), 2 << 20);
    EXPECT_EQ(error_category(full), ErrorCategory::kIo);
    EXPECT_THAT(std::string(full.message()), HasSubstr("No space left"));
  }
  EXPECT_EQ(files_in(folder.path()), 0);
}

TEST(InputFile, TellsMissingFromTruncated) {
  TemporaryFolder folder;
  EXPECT_EQ(error_category(InputFile::open(folder / "none").status()), ErrorCategory::kMissingInput);
  EXPECT_EQ(error_category(InputFile::open(folder.path()).status()), ErrorCategory::kBadData);
  ASSERT_TRUE(write_file_atomically(folder / "a", "0123456789").ok());
  const absl::StatusOr<InputFile> file = InputFile::open(folder / "a");
  ASSERT_TRUE(file.ok());
  std::string into(4, ' ');
  ASSERT_TRUE(file->read(3, into.data(), 4).ok());
  EXPECT_EQ(into, "3456");
  const absl::Status beyond = file->read(8, into.data(), 4);
  EXPECT_EQ(error_category(beyond), ErrorCategory::kBadData);
  EXPECT_THAT(std::string(beyond.message()), HasSubstr("ends at byte 10"));
  EXPECT_EQ(error_category(read_text_file(folder / "a", 9).status()), ErrorCategory::kBadData);
}

}  // namespace
}  // namespace switchyard
