#include "launch/train/agreement.h"

#include <thread>

#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "runtime/comm/loopback.h"

namespace switchyard {
namespace {

std::vector<absl::Status> agreed(const std::vector<absl::Status>& mine) {
  const int ranks = static_cast<int>(mine.size());
  Loopback world(ranks);
  std::vector<absl::Status> result(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] { result[rank] = agree(world.rank(rank), mine[rank]); });
  }
  for (std::thread& thread : threads) thread.join();
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

}  // namespace
}  // namespace switchyard
