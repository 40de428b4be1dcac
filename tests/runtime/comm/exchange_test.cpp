#include "runtime/comm/exchange.h"

#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

// Of every kind: with a NUL, empty, and longer than the others.
const std::vector<std::string> kTexts = {std::string("a\0b", 3), "", std::string(5000, 'x') + "\n", "\xff"};

TEST(Exchange, GathersOnRank0Alone) {
  run_ranks(4, [](Communicator& world) {
    const auto texts = value_or_throw(gather_texts(world, kTexts[world.rank()]));
    EXPECT_EQ(texts, world.rank() == 0 ? kTexts : std::vector<std::string>());
  });
}

TEST(Exchange, GathersOnAllRanks) {
  run_ranks(4, [](Communicator& world) {
    EXPECT_EQ(value_or_throw(all_gather_texts(world, kTexts[world.rank()])), kTexts);
    EXPECT_EQ(value_or_throw(all_gather_texts(world, "")), std::vector<std::string>(4));
  });
}

TEST(Exchange, BroadcastsTheTextOfTheRoot) {
  run_ranks(4, [](Communicator& world) {
    EXPECT_EQ(value_or_throw(broadcast_text(world, kTexts[world.rank()])), kTexts[0]);
    for (int root = 0; root < world.size(); ++root) {
      EXPECT_EQ(value_or_throw(broadcast_text(world, kTexts[world.rank()], root)), kTexts[root]);
    }
  });
}

}  // namespace
}  // namespace switchyard
