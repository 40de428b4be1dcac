// What is written by some ranks with some boxes is read by others with others, bit for bit.
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/folder.h"
#include "parallel/checkpoint/write_checkpoint.h"
#include "runtime/storage/checksum.h"
#include "runtime/storage/safetensors.h"
#include "tests/parallel/checkpoint/parts.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

struct Named {
  std::string name;
  at::Tensor whole;
};

// Every dtype that a run stores, odd shapes, a scalar, an empty tensor, fewer rows than ranks, and several chunks.
std::vector<Named> model() {
  return {{"bf16", counted({37, 53}, at::kBFloat16)}, {"fp32", counted({7, 11, 13}, at::kFloat)},
          {"fp64", counted({41, 29}, at::kDouble)},   {"int64", counted({1001}, at::kLong)},
          {"scalar", counted({}, at::kFloat) + 5},    {"none", counted({0, 7}, at::kFloat)},
          {"two_rows", counted({2, 5}, at::kFloat)},  {"large", counted({700, 901}, at::kDouble)}};
}

using BoxOf = std::function<Box(const std::vector<int64_t>& shape, int rank, int ranks)>;

Box by_rows(const std::vector<int64_t>& shape, int rank, int ranks) {
  if (!shape.empty()) return cut_box(shape, 0, ranks, rank);
  return Box::whole(shape);
}

Box by_columns(const std::vector<int64_t>& shape, int rank, int ranks) {
  if (!shape.empty()) return cut_box(shape, shape.size() - 1, ranks, rank);
  return Box::whole(shape);
}

// Of four ranks, two along each of the first two dimensions.
Box by_quarters(const std::vector<int64_t>& shape, int rank, int ranks) {
  if (shape.size() < 2) return by_rows(shape, rank, ranks);
  Box box = cut_box(shape, 0, 2, rank / 2);
  const auto [begin, end] = cut(shape[1], 2, rank % 2);
  box.offset[1] = begin;
  box.extent[1] = end - begin;
  return box;
}

void write(const std::filesystem::path& root, int ranks, const BoxOf& box_of) {
  run_ranks(ranks, [&](Communicator& world) {
    std::vector<TensorPart> parts;
    for (const Named& tensor : model()) {
      const std::vector<int64_t> shape = tensor.whole.sizes().vec();
      if (shape.empty() && world.rank() != ranks - 1) continue;  // a whole tensor is one rank's
      parts.push_back(part_of(tensor.name, tensor.whole, box_of(shape, world.rank(), ranks)));
    }
    const std::string state = world.rank() == 0 ? R"({"seed": 7})" : "only that of rank 0 counts";
    const absl::Status status = write_checkpoint(root, 100, parts, state, world);
    ASSERT_TRUE(status.ok()) << status;
  });
}

void expect_readable(const std::filesystem::path& root, int ranks, const BoxOf& box_of) {
  run_ranks(ranks, [&](Communicator& world) {
    auto latest = find_latest(root, world);
    ASSERT_TRUE(latest.ok()) << latest.status();
    ASSERT_NE(latest->checkpoint, nullptr);
    EXPECT_EQ(latest->checkpoint->step(), 100);
    EXPECT_EQ(latest->checkpoint->run_state(), R"({"seed":7})");
    std::vector<TensorPart> wanted;
    for (const Named& tensor : model()) {
      const std::vector<int64_t> shape = tensor.whole.sizes().vec();
      wanted.push_back(wanted_part(tensor.name, tensor.whole, box_of(shape, world.rank(), ranks)));
    }
    const absl::Status status = latest->checkpoint->read(wanted);
    ASSERT_TRUE(status.ok()) << status;
    const std::vector<Named> expected = model();
    for (size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_TRUE(same_bits(wanted[i].data, part_of(expected[i].whole, wanted[i].box)))
          << wanted[i].name << " " << to_string(wanted[i].box) << " on rank " << world.rank();
    }
  });
}

TEST(CheckpointRoundTrip, OneRank) {
  TemporaryFolder folder;
  write(folder / "run/checkpoints", 1, by_rows);
  expect_readable(folder / "run/checkpoints", 1, by_rows);
  const auto checkpoint = Checkpoint::open(folder / "run/checkpoints/step-00000100");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->tensors().size(), model().size());
  EXPECT_EQ((*checkpoint)->find("fp64")->shape, (std::vector<int64_t>{41, 29}));
  EXPECT_EQ((*checkpoint)->find("fp6"), nullptr);
}

class Resharding : public testing::TestWithParam<std::pair<BoxOf, const char*>> {};

TEST_P(Resharding, IsHowEverythingIsRead) {
  TemporaryFolder folder;
  write(folder.path(), 4, GetParam().first);
  expect_readable(folder.path(), 3, by_rows);
  expect_readable(folder.path(), 3, by_columns);
  expect_readable(folder.path(), 4, by_quarters);
  expect_readable(folder.path(), 1, by_rows);
}

INSTANTIATE_TEST_SUITE_P(Writers, Resharding,
                         testing::Values(std::pair<BoxOf, const char*>{by_rows, "Rows"},
                                         std::pair<BoxOf, const char*>{by_columns, "Columns"},
                                         std::pair<BoxOf, const char*>{by_quarters, "Quarters"}),
                         [](const auto& test) { return test.param.second; });

TEST(CheckpointRoundTrip, SeveralBoxesOfATensorOnARank) {
  TemporaryFolder folder;
  const at::Tensor whole = counted({6, 4}, at::kFloat);
  run_ranks(1, [&](Communicator& world) {
    const std::vector<TensorPart> parts = {part_of("w", whole, {{0, 0}, {6, 1}}),
                                           part_of("w", whole, {{0, 1}, {6, 3}})};
    ASSERT_TRUE(write_checkpoint(folder.path(), 1, parts, "{}", world).ok());
  });
  const auto checkpoint = Checkpoint::open(checkpoint_path(folder.path(), 1));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const TensorPart wanted = wanted_part("w", whole, {{2, 0}, {3, 4}});
  ASSERT_TRUE((*checkpoint)->read({&wanted, 1}).ok());
  EXPECT_TRUE(at::equal(wanted.data, whole.narrow(0, 2, 3)));
}

// Leaves that require gradients are written and filled like any tensor.
TEST(CheckpointRoundTrip, TakesLeaves) {
  TemporaryFolder folder;
  const at::Tensor whole = counted({3, 4}, at::kFloat).set_requires_grad(true);
  run_ranks(1, [&](Communicator& world) {
    const TensorPart part{"w", at::kFloat, {3, 4}, Box::whole({3, 4}), whole};
    ASSERT_TRUE(write_checkpoint(folder.path(), 1, {&part, 1}, "{}", world).ok());
    const at::Tensor filled = at::zeros({3, 4}).set_requires_grad(true);
    const TensorPart wanted{"w", at::kFloat, {3, 4}, Box::whole({3, 4}), filled};
    ASSERT_TRUE((*Checkpoint::open(checkpoint_path(folder.path(), 1)))->read({&wanted, 1}).ok());
    EXPECT_TRUE(at::equal(filled, whole));
  });
}

class ReadAmount : public testing::Test {
 protected:
  // 20 chunks and a bit, 1000 rows of 2688 doubles.
  ReadAmount() : whole_(counted({1000, 2688}, at::kDouble)) {
    run_ranks(1, [&](Communicator& world) {
      const TensorPart part = part_of("w", whole_);
      ASSERT_TRUE(write_checkpoint(folder_.path(), 1, {&part, 1}, "{}", world).ok());
    });
  }
  int64_t bytes_for(const Box& box) {
    const auto checkpoint = Checkpoint::open(checkpoint_path(folder_.path(), 1));
    const TensorPart wanted = wanted_part("w", whole_, box);
    const absl::Status status = (*checkpoint)->read({&wanted, 1});
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(at::equal(wanted.data, part_of(whole_, box))) << to_string(box);
    return (*checkpoint)->bytes_read();
  }

  TemporaryFolder folder_;
  at::Tensor whole_;
};

TEST_F(ReadAmount, IsTheChunksThatAreNeeded) {
  const int64_t row = 2688 * 8;
  EXPECT_EQ(bytes_for(Box::whole({1000, 2688})), 1000 * row);
  EXPECT_EQ(bytes_for({{0, 0}, {1, 2688}}), kChunkBytes);
  EXPECT_EQ(bytes_for({{48, 100}, {1, 1}}), kChunkBytes);       // the last whole row of the first chunk
  EXPECT_EQ(bytes_for({{48, 0}, {1, 2688}}), 2 * kChunkBytes);  // ends in the second
  EXPECT_EQ(bytes_for({{999, 2687}, {1, 1}}), 1000 * row % kChunkBytes);
  EXPECT_EQ(bytes_for({{100, 5}, {800, 3}}), (900 * row / kChunkBytes + 1 - 100 * row / kChunkBytes) * kChunkBytes);
  EXPECT_EQ(bytes_for({{5, 5}, {0, 3}}), 0);
  EXPECT_EQ(bytes_for({{0, 1}, {1000, 2686}}), 1000 * row);
}

// What one rank wrote, any program reads: plain names for whole tensors, offsets behind the name else.
TEST(CheckpointFiles, ArePlainSafetensors) {
  TemporaryFolder folder;
  const at::Tensor whole = counted({4, 3}, at::kFloat);
  run_ranks(2, [&](Communicator& world) {
    std::vector<TensorPart> parts = {part_of("cut", whole, cut_box({4, 3}, 0, 2, world.rank()))};
    if (world.rank() == 0) parts.push_back(part_of("whole", whole));
    ASSERT_TRUE(write_checkpoint(folder.path(), 3, parts, "{}", world).ok());
  });
  const auto file = SafetensorsReader::open(folder / "step-00000003/boxes-00000-of-00002.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto entry = file->find("whole");
  ASSERT_TRUE(entry.ok()) << entry.status();
  at::Tensor data = at::empty({4, 3});
  ASSERT_TRUE(file->read(**entry, data.mutable_data_ptr()).ok());
  EXPECT_TRUE(at::equal(data, whole));
  EXPECT_TRUE(file->find("cut@0,0").ok());
  EXPECT_TRUE(SafetensorsReader::open(folder / "step-00000003/boxes-00001-of-00002.safetensors")->find("cut@2,0").ok());
}

}  // namespace
}  // namespace switchyard
