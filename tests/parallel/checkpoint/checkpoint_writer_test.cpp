// Saves that are written while their ranks go on.
#include "parallel/checkpoint/checkpoint_writer.h"

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/folder.h"
#include "runtime/base/status.h"
#include "tests/parallel/checkpoint/parts.h"
#include "tests/support/device_stand_in/device_stand_in.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

std::unique_ptr<Communicator> own_group(Communicator& world) {
  return value_or_throw(world.split(0, world.rank(), "writer"));
}

// Rows [2·rank, 2·rank + 2) of a tensor whose elements all are `value`, and an empty part.
std::vector<TensorPart> parts_of(Communicator& world, double value) {
  const int64_t rows = 2 * world.size();
  return {part_of("w", at::full({rows, 3}, value, at::kDouble), {{2 * world.rank(), 0}, {2, 3}}),
          {.name = "none", .dtype = at::kFloat, .shape = {0, 4}, .box = Box::whole({0, 4}), .data = {}}};
}

double value_of(const std::filesystem::path& root, int64_t step, int64_t rows) {
  const TensorPart wanted = wanted_part("w", at::zeros({rows, 3}, at::kDouble), Box::whole({rows, 3}));
  const auto checkpoint = Checkpoint::open(checkpoint_path(root, step));
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  if (!checkpoint.ok()) return -1;
  EXPECT_TRUE((*checkpoint)->read({&wanted, 1}).ok());
  EXPECT_TRUE(wanted.data.eq(wanted.data[0][0]).all().item<bool>());
  return wanted.data[0][0].item<double>();
}

class InFlight : public testing::TestWithParam<int> {};

TEST_P(InFlight, WritesWhatWasThereWhenItWasSaved) {
  TemporaryFolder folder;
  run_ranks(3, [&](Communicator& world) {
    CheckpointWriter writer(folder.path(), own_group(world), GetParam());
    const std::vector<TensorPart> parts = parts_of(world, 1);
    for (const int64_t step : {1, 2, 3, 4}) {
      parts[0].data.fill_(static_cast<double>(step));
      writer.save(step, parts, "{}", {});
      parts[0].data.fill_(-1);  // training goes on
    }
    EXPECT_EQ(writer.begun(), 4);
    std::vector<SaveOutcome> ended = writer.take_ended(1);
    const std::vector<SaveOutcome> others = writer.take_ended(4);
    ended.insert(ended.end(), others.begin(), others.end());
    ASSERT_EQ(ended.size(), 4U);
    for (int64_t i = 0; i < 4; ++i) {
      EXPECT_EQ(ended[i].step, i + 1);
      EXPECT_TRUE(ended[i].status.ok()) << ended[i].status;
    }
    EXPECT_EQ(writer.ended(), 4);
    EXPECT_TRUE(writer.take_ended(4).empty());
  });
  for (const int64_t step : {1, 2, 3, 4}) EXPECT_EQ(value_of(folder.path(), step, 6), static_cast<double>(step));
}

INSTANTIATE_TEST_SUITE_P(Counts, InFlight, testing::Values(0, 1, 2, 7));

// Both in the background and, by a save that may not be in flight, while training waits.
TEST(CheckpointWriter, TensorsOfADeviceAreSavedAndLoaded) {
  TemporaryFolder folder;
  for (const int in_flight : {0, 1}) {
    run_ranks(2, [&](Communicator& world) {
      const c10::Device device = device_stand_in(world.rank());
      std::vector<TensorPart> parts = parts_of(world, 1);
      parts[0].data = at::arange(6, at::kDouble).add(10 * world.rank()).view({2, 3}).to(device);
      CheckpointWriter writer(folder.path(), own_group(world), in_flight);
      writer.save(in_flight, parts, "{}", {});
      parts[0].data.fill_(-1);  // training goes on
      const std::vector<SaveOutcome> ended = writer.take_ended(1);
      ASSERT_EQ(ended.size(), 1U);
      EXPECT_TRUE(ended[0].status.ok()) << ended[0].status;

      const auto checkpoint = Checkpoint::open(checkpoint_path(folder.path(), in_flight));
      ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
      TensorPart column = wanted_part("w", at::zeros({4, 3}, at::kDouble), {{0, 1}, {4, 1}});
      column.data = column.data.to(device);
      throw_if_error((*checkpoint)->read({&column, 1}));
      EXPECT_TRUE(at::equal(column.data.cpu().view(-1), at::tensor({1., 4., 11., 14.}, at::kDouble)));
    });
  }
}

// No rank waits for another until as many saves are under way as may be.
TEST(CheckpointWriter, ReturnsBeforeItIsWritten) {
  TemporaryFolder folder;
  run_ranks(2, [&](Communicator& world) {
    CheckpointWriter writer(folder.path(), own_group(world), 2);
    // Rank 0's first save can't end before rank 1 has come to it, which is after rank 0 has begun two.
    if (world.rank() == 1) throw_if_error(world.barrier().wait());
    writer.save(1, parts_of(world, 1), "{}", {});
    writer.save(2, parts_of(world, 2), "{}", {});
    if (world.rank() == 0) {
      EXPECT_EQ(writer.ended(), 0);
      throw_if_error(world.barrier().wait());
    }
    EXPECT_EQ(writer.take_ended(2).size(), 2U);
  });
  EXPECT_EQ(value_of(folder.path(), 2, 4), 2);
}

TEST(CheckpointWriter, WaitsAtItsEnd) {
  TemporaryFolder folder;
  run_ranks(2, [&](Communicator& world) {
    CheckpointWriter writer(folder.path(), own_group(world), 1);
    writer.save(7, parts_of(world, 7), "{}", {});
  });
  EXPECT_EQ(value_of(folder.path(), 7, 4), 7);
}

TEST(CheckpointWriter, AFailureIsToldAndTheNextSaveIsGood) {
  TemporaryFolder folder;
  const std::filesystem::path root = folder / "checkpoints";
  std::ofstream(root) << "in the way";
  run_ranks(2, [&](Communicator& world) {
    CheckpointWriter writer(root, own_group(world), 1);
    writer.save(1, parts_of(world, 1), "{}", {});
    const std::vector<SaveOutcome> failed = writer.take_ended(1);
    EXPECT_EQ(error_category(failed[0].status), ErrorCategory::kIo) << failed[0].status;
    EXPECT_THAT(std::string(failed[0].status.message()), testing::HasSubstr(root.string()));
    if (world.rank() == 0) std::filesystem::remove(root);
    writer.save(2, parts_of(world, 2), "{}", {.read_back = true});
    EXPECT_TRUE(writer.take_ended(2)[0].status.ok());
  });
  EXPECT_EQ(value_of(root, 2, 4), 2);
}

TEST(Snapshot, UsesItsMemoryAgain) {
  Snapshot snapshot;
  const at::Tensor whole = counted({5, 3}, at::kDouble);
  snapshot.take(std::vector{part_of("a", whole), part_of("b", counted({3}, at::kBFloat16)), part_of("c", whole)});
  const void* first = snapshot.parts()[0].data.const_data_ptr();
  for (const TensorPart& part : snapshot.parts()) {
    check_part(part);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(part.data.const_data_ptr()) % 64, 0U);
  }
  EXPECT_TRUE(at::equal(snapshot.parts()[2].data, whole));
  snapshot.take(std::vector{part_of("b", whole + 1)});
  ASSERT_EQ(snapshot.parts().size(), 1U);
  EXPECT_EQ(snapshot.parts()[0].data.const_data_ptr(), first);
  EXPECT_TRUE(at::equal(snapshot.parts()[0].data, whole + 1));
}

}  // namespace
}  // namespace switchyard
