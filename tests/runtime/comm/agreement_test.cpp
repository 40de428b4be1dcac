#include "runtime/comm/agreement.h"

#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

std::vector<absl::Status> agreed(const std::vector<absl::Status>& mine) {
  std::vector<absl::Status> result(mine.size());
  run_ranks(static_cast<int>(mine.size()),
            [&](Communicator& world) { result[world.rank()] = agree(world, mine[world.rank()]); });
  return result;
}

TEST(Agreement, AllWell) {
  for (const absl::Status& status : agreed(std::vector<absl::Status>(3))) EXPECT_TRUE(status.ok()) << status;
}

TEST(Agreement, AnErrorOfAllRanksIsToldOnce) {
  const absl::Status bad = error(ErrorCategory::kBadConfig, "x.yaml:1: wrong\nmore");
  for (const absl::Status& status : agreed({bad, bad})) {
    EXPECT_EQ(status.message(), "x.yaml:1: wrong\nmore");
    EXPECT_EQ(error_category(status), ErrorCategory::kBadConfig);
    EXPECT_TRUE(is_agreed(status));
  }
  EXPECT_FALSE(is_agreed(bad));
}

TEST(Agreement, AnErrorOfSomeRanksNamesThem) {
  const absl::Status missing = error(ErrorCategory::kMissingInput, "no data");
  for (const absl::Status& status : agreed({{}, missing, {}, error(ErrorCategory::kIo, "")})) {
    EXPECT_EQ(status.message(), "ranks 1, 3 of 4: no data");
    EXPECT_EQ(error_category(status), ErrorCategory::kMissingInput);
    EXPECT_TRUE(is_agreed(status));
  }
  for (const absl::Status& status : agreed({error(ErrorCategory::kIo, ""), {}})) {
    EXPECT_EQ(status.message(), "rank 0 of 2: ");
  }
}

TEST(Agreement, AValueIsTheRanksOwn) {
  run_ranks(3, [](Communicator& world) {
    const absl::StatusOr<int> value = agree(world, absl::StatusOr<int>(world.rank()));
    ASSERT_TRUE(value.ok()) << value.status();
    EXPECT_EQ(*value, world.rank());
    absl::StatusOr<int> mine = world.rank();
    if (world.rank() == 2) mine = error(ErrorCategory::kIo, "gone");
    const absl::StatusOr<int> none = agree(world, mine);
    EXPECT_EQ(none.status().message(), "rank 2 of 3: gone");
    EXPECT_TRUE(is_agreed(none.status()));
  });
}

TEST(Agreement, OnlyTheStatusOfRank0IsBroadcast) {
  run_ranks(3, [](Communicator& world) {
    const bool root = world.rank() == 0;
    const absl::Status bad = error(ErrorCategory::kIo, "disk full:\n3 bytes");
    const absl::Status shared = broadcast_status(world, root ? bad : absl::OkStatus());
    EXPECT_EQ(shared.message(), bad.message());
    EXPECT_EQ(error_category(shared), ErrorCategory::kIo);
    EXPECT_TRUE(broadcast_status(world, root ? absl::OkStatus() : bad).ok());
  });
}

TEST(Agreement, AStatusSurvivesAsText) {
  for (const char* message : {"", " 7 leading", "two\nlines"}) {
    const absl::Status status = decode_status(encode_status(error(ErrorCategory::kDiverged, message)));
    EXPECT_EQ(status.message(), message);
    EXPECT_EQ(error_category(status), ErrorCategory::kDiverged);
  }
  EXPECT_TRUE(decode_status(encode_status(absl::OkStatus())).ok());
}

}  // namespace
}  // namespace switchyard
