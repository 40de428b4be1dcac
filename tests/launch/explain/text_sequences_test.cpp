#include "launch/explain/text_sequences.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using testing::ElementsAre;

TEST(TextSequences, AreCutAndTheLastIsFilledUp) {
  TextSequences text({10, 11, 12, 13, 14, 15}, 4, 2);
  EXPECT_EQ(text.sequences_per_epoch(), 2);
  std::vector<int64_t> tokens(8), targets(8), positions(8), starts;
  for (int64_t n = 0; n < 2; ++n) {
    const SequenceRows rows{.tokens = &tokens[4 * n],
                            .targets = &targets[4 * n],
                            .positions = &positions[4 * n],
                            .tags = nullptr,
                            .first_row = 4 * n};
    ASSERT_TRUE(text.read(n, rows, starts).ok());
  }
  EXPECT_THAT(tokens, ElementsAre(10, 11, 12, 13, 14, 15, 2, 2));
  EXPECT_THAT(targets, ElementsAre(11, 12, 13, -1, 15, -1, -1, -1));
  EXPECT_THAT(positions, ElementsAre(0, 1, 2, 3, 0, 1, 0, 1));
  EXPECT_THAT(starts, ElementsAre(0, 4, 6));
  EXPECT_EQ(text.targets(0, 2), 4);
}

TEST(TextSequences, AFullLastSequenceHasNoFilling) {
  TextSequences text({10, 11}, 2, 2);
  EXPECT_EQ(text.sequences_per_epoch(), 1);
  std::vector<int64_t> tokens(2), targets(2), positions(2), starts;
  const SequenceRows rows{.tokens = tokens.data(),
                          .targets = targets.data(),
                          .positions = positions.data(),
                          .tags = nullptr,
                          .first_row = 0};
  ASSERT_TRUE(text.read(0, rows, starts).ok());
  EXPECT_THAT(starts, ElementsAre(0));
}

}  // namespace
}  // namespace switchyard
