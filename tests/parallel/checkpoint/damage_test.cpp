// Damaged, unfinished and foreign checkpoints.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/folder.h"
#include "parallel/checkpoint/verify.h"
#include "parallel/checkpoint/write_checkpoint.h"
#include "runtime/base/status.h"
#include "runtime/storage/checksum.h"
#include "tests/parallel/checkpoint/parts.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kBoxes[] = "boxes-00000-of-00001.safetensors";

class Damage : public testing::Test {
 protected:
  Damage() {
    for (const int64_t step : {100, 200}) {
      run_ranks(1, [&](Communicator& world) {
        const std::vector<TensorPart> parts = {part_of("first", whole_), part_of("second", whole_ + step)};
        ASSERT_TRUE(write_checkpoint(folder_.path(), step, parts, "{}", world).ok());
      });
    }
  }

  std::filesystem::path file(int64_t step, const std::string& name) const {
    return checkpoint_path(folder_.path(), step) / name;
  }
  void flip(const std::filesystem::path& path, int64_t at) const {
    std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(at);
    const int byte = stream.get();
    stream.seekp(at);
    stream.put(static_cast<char>(byte ^ 0x10));
    ASSERT_TRUE(stream.good());
  }
  absl::Status read(const TensorPart& wanted) const {
    auto checkpoint = Checkpoint::open(checkpoint_path(folder_.path(), 200));
    return checkpoint.ok() ? (*checkpoint)->read({&wanted, 1}) : checkpoint.status();
  }
  // That 200 was skipped, with `reason`.
  void expect_previous(const std::string& reason) const {
    const auto latest = find_latest(folder_.path());
    ASSERT_TRUE(latest.ok()) << latest.status();
    ASSERT_NE(latest->checkpoint, nullptr);
    EXPECT_EQ(latest->checkpoint->step(), 100);
    EXPECT_THAT(latest->skipped, ElementsAre(AllOf(HasSubstr("step-00000200"), HasSubstr(reason))));
  }

  TemporaryFolder folder_;
  at::Tensor whole_ = counted({300, 1000}, at::kFloat);  // two chunks
};

TEST_F(Damage, TheNewestIsFound) {
  const auto latest = find_latest(folder_.path());
  ASSERT_TRUE(latest.ok()) << latest.status();
  EXPECT_EQ(latest->checkpoint->step(), 200);
  EXPECT_TRUE(latest->skipped.empty());
}

TEST_F(Damage, AFlippedByteIsNamed) {
  const auto checkpoint = Checkpoint::open(checkpoint_path(folder_.path(), 200));
  const int64_t start = (*checkpoint)->find("second")->boxes.front().byte_offset;
  flip(file(200, kBoxes), start + kChunkBytes + 5);
  const absl::Status status = read(wanted_part("second", whole_, Box::whole({300, 1000})));
  EXPECT_EQ(error_category(status), ErrorCategory::kBadData);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(file(200, kBoxes).string()), HasSubstr("tensor \"second\""),
                    HasSubstr("bytes " + std::to_string(start + kChunkBytes) + " to " +
                              std::to_string(start + 300 * 1000 * 4))));
  // Others, and other chunks of it, are good.
  EXPECT_TRUE(read(wanted_part("first", whole_, Box::whole({300, 1000}))).ok());
  EXPECT_TRUE(read(wanted_part("second", whole_, {{0, 0}, {200, 1000}})).ok());
}

TEST_F(Damage, AFlippedManifestIsNoCheckpoint) {
  flip(file(200, kManifestName), 60);
  expect_previous("does not match its hash");
}

TEST_F(Damage, ATruncatedManifestIsNoCheckpoint) {
  const auto size = std::filesystem::file_size(file(200, kManifestName));
  std::filesystem::resize_file(file(200, kManifestName), size - 1);
  expect_previous("does not end with its hash");
  std::filesystem::resize_file(file(200, kManifestName), 0);
  expect_previous("does not end with its hash");
}

TEST_F(Damage, WithoutManifestThereIsNoCheckpoint) {
  std::filesystem::remove(file(200, kManifestName));
  expect_previous("is not a checkpoint");
  EXPECT_EQ(error_category(Checkpoint::open(checkpoint_path(folder_.path(), 200)).status()),
            ErrorCategory::kMissingInput);
}

TEST_F(Damage, TruncatedAndMissingFilesAreFoundAtOnce) {
  std::filesystem::resize_file(file(200, kBoxes), 1000);
  expect_previous("has 1000 bytes and not");
  std::filesystem::remove(file(200, kBoxes));
  expect_previous(kBoxes);
}

// Killed between the data and the manifest: all is there but the manifest, under the name that it has while written.
TEST_F(Damage, WhatWasNotFinishedIsNoCheckpoint) {
  std::filesystem::remove(file(200, kManifestName));
  std::filesystem::rename(checkpoint_path(folder_.path(), 200), staging_path(folder_.path(), 200));
  expect_previous("was not finished");
  // The next write starts over.
  run_ranks(1, [&](Communicator& world) {
    const TensorPart part = part_of("first", whole_);
    ASSERT_TRUE(write_checkpoint(folder_.path(), 200, {&part, 1}, "{}", world).ok());
  });
  EXPECT_EQ(find_latest(folder_.path())->checkpoint->step(), 200);
  EXPECT_FALSE(std::filesystem::exists(staging_path(folder_.path(), 200)));
}

TEST_F(Damage, AFlippedByteOfAHeaderIsNamed) {
  flip(file(200, kBoxes), 40);
  expect_previous(kBoxes);
  EXPECT_THAT(std::string(Checkpoint::open(checkpoint_path(folder_.path(), 200)).status().message()),
              AllOf(HasSubstr("its header, bytes 0 to "), HasSubstr("does not match its checksum")));
}

TEST_F(Damage, OlderOnesCanBeAskedFor) {
  EXPECT_EQ(find_latest(folder_.path(), 201)->checkpoint->step(), 200);
  EXPECT_EQ(find_latest(folder_.path(), 200)->checkpoint->step(), 100);
  EXPECT_EQ(find_latest(folder_.path(), 100)->checkpoint, nullptr);
}

// Starting afresh where there was a run would lose it.
TEST_F(Damage, OfAllOfThemIsAnError) {
  flip(file(100, kManifestName), 60);
  flip(file(200, kManifestName), 60);
  const absl::Status status = find_latest(folder_.path()).status();
  EXPECT_EQ(error_category(status), ErrorCategory::kBadData);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("step-00000200"), HasSubstr("step-00000100")));
}

TEST_F(Damage, IsFoundWhereverItIs) {
  const auto damage_of = [&] {
    const auto checkpoint = Checkpoint::open_manifest(checkpoint_path(folder_.path(), 200));
    int64_t seen = 0;
    const auto damage =
        find_damage((*checkpoint)->path(), (*checkpoint)->manifest(), {}, [&](int64_t bytes) { seen += bytes; });
    EXPECT_TRUE(damage.ok()) << damage.status();
    if (damage->empty()) {
      EXPECT_EQ(seen, 2 * whole_.nbytes());
    }
    return *damage;
  };
  EXPECT_THAT(damage_of(), ElementsAre());
  const int64_t size = static_cast<int64_t>(std::filesystem::file_size(file(200, kBoxes)));
  for (const int64_t at : {int64_t{0}, int64_t{100}, size / 2, size - 1}) {
    flip(file(200, kBoxes), at);
    EXPECT_EQ(damage_of().size(), 1U) << at;
    flip(file(200, kBoxes), at);
  }
  flip(file(200, kBoxes), size - 1);
  flip(file(200, kBoxes), size - 2 * kChunkBytes);
  EXPECT_EQ(damage_of().size(), 2U);
  std::filesystem::remove(file(200, kBoxes));
  EXPECT_THAT(damage_of(), ElementsAre(HasSubstr(kBoxes)));
}

TEST_F(Damage, ADiskThatRefusesIsNotSkipped) {
  std::filesystem::remove(file(200, kManifestName));
  std::filesystem::create_symlink(kManifestName, file(200, kManifestName));  // a loop: ELOOP, also for root
  const absl::Status status = find_latest(folder_.path()).status();
  EXPECT_EQ(error_category(status), ErrorCategory::kIo) << status;
}

TEST_F(Damage, AnotherModelIsNamed) {
  const auto expect_refused = [&](const TensorPart& wanted, const std::string& reason) {
    const absl::Status status = read(wanted);
    EXPECT_EQ(error_category(status), ErrorCategory::kBadConfig);
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(wanted.name), HasSubstr(reason)));
  };
  const Box box = Box::whole({300, 1000});
  expect_refused(wanted_part("third", whole_, box), "has no tensor \"third\"");
  expect_refused(wanted_part("first", whole_.to(at::kDouble), box), "is F32 [300,1000], and this run needs F64");
  expect_refused(wanted_part("first", whole_.view({1000, 300}), Box::whole({1000, 300})), "needs F32 [1000,300]");
  expect_refused(wanted_part("third", whole_, {{0, 0}, {0, 0}}), "has no tensor");  // also for empty boxes
}

TEST_F(Damage, AllRanksHearTheSame) {
  flip(file(200, kManifestName), 60);
  run_ranks(3, [&](Communicator& world) {
    const auto latest = find_latest(folder_.path(), world);
    ASSERT_TRUE(latest.ok()) << latest.status();
    EXPECT_EQ(latest->checkpoint->step(), 100);
    EXPECT_THAT(latest->skipped, ElementsAre(HasSubstr("does not match its hash")));
    const auto none = find_latest(folder_ / "nothing", world);
    ASSERT_TRUE(none.ok()) << none.status();
    EXPECT_EQ(none->checkpoint, nullptr);
    EXPECT_TRUE(none->skipped.empty());
    EXPECT_EQ(error_category(find_latest(file(100, kBoxes), world).status()), ErrorCategory::kIo);
  });
}

}  // namespace
}  // namespace switchyard
