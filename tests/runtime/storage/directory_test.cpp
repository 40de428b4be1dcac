#include "runtime/storage/directory.h"

#include <fstream>
#include <string>

#include <gmock/gmock.h>

#include "runtime/base/status.h"
#include "tests/support/small_disk.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAre;

TEST(Directory, CreatesWhatIsMissing) {
  TemporaryFolder folder;
  EXPECT_TRUE(create_folders(folder / "a/b/c").ok());
  EXPECT_TRUE(create_folders(folder / "a/b/c").ok());
  EXPECT_TRUE(create_folders(folder / "a/d/").ok());
  EXPECT_TRUE(folder_exists(folder / "a/b/c"));
  EXPECT_TRUE(folder_exists(folder / "a/d"));
  EXPECT_EQ(error_category(create_folder(folder / "a/b")), ErrorCategory::kIo);
  EXPECT_EQ(error_category(create_folder(folder / "x/y")), ErrorCategory::kMissingInput);
  std::ofstream(folder / "file") << "x";
  EXPECT_FALSE(folder_exists(folder / "file"));
  EXPECT_THAT(std::string(create_folders(folder / "file/z").message()), HasSubstr("file/z"));
  EXPECT_THAT(*names_in_folder(folder.path()), UnorderedElementsAre("a", "file"));
  EXPECT_EQ(error_category(names_in_folder(folder / "none").status()), ErrorCategory::kMissingInput);
}

TEST(Directory, RenamesExchangesAndRemoves) {
  TemporaryFolder folder;
  ASSERT_TRUE(create_folders(folder / "a/inner").ok());
  ASSERT_TRUE(create_folder(folder / "b").ok());
  const auto exchanged = exchange_names(folder / "a", folder / "b");
  ASSERT_TRUE(exchanged.ok()) << exchanged.status();
  if (*exchanged) {
    EXPECT_TRUE(folder_exists(folder / "b/inner"));
    ASSERT_TRUE(*exchange_names(folder / "a", folder / "b"));
  }
  EXPECT_FALSE(*exchange_names(folder / "a", folder / "none"));
  EXPECT_FALSE(rename_in_folder(folder / "b", folder / "a").ok());  // which is not empty
  EXPECT_TRUE(rename_in_folder(folder / "a", folder / "c").ok());
  EXPECT_TRUE(folder_exists(folder / "c/inner"));
  EXPECT_TRUE(remove_tree(folder / "c").ok());
  EXPECT_TRUE(remove_tree(folder / "c").ok());
  EXPECT_THAT(*names_in_folder(folder.path()), UnorderedElementsAre("b"));
}

TEST(Directory, ReplacesLinks) {
  TemporaryFolder folder;
  for (const char* target : {"one", "two"}) {
    ASSERT_TRUE(replace_link(folder / "latest", target).ok());
    EXPECT_EQ(std::filesystem::read_symlink(folder / "latest"), target);
  }
  std::filesystem::create_symlink("x", folder / "latest.partial");  // what a killed process leaves
  EXPECT_TRUE(replace_link(folder / "latest", "three").ok());
  EXPECT_THAT(*names_in_folder(folder.path()), UnorderedElementsAre("latest"));
}

TEST(Directory, KnowsTheFreeSpace) {
  TemporaryFolder folder;
  const SmallDisk disk(folder.path(), "1m");
  if (!disk.mounted()) GTEST_SKIP() << "may not mount a file system";
  EXPECT_EQ(*free_bytes(folder.path()), 1 << 20);
  std::ofstream(folder / "file") << std::string(300'000, 'x');
  EXPECT_LT(**free_bytes(folder.path()), (1 << 20) - 300'000);
  EXPECT_EQ(error_category(free_bytes(folder / "none").status()), ErrorCategory::kMissingInput);
}

}  // namespace
}  // namespace switchyard
