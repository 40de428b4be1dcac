#include "launch/verify/token_sources.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

struct Sequence {
  std::vector<int64_t> tokens, targets, positions, tags, piece_starts;
};

Sequence read(SequenceSource& source, int64_t n) {
  const auto S = static_cast<size_t>(source.sequence());
  Sequence all{std::vector<int64_t>(S), std::vector<int64_t>(S), std::vector<int64_t>(S), std::vector<int64_t>(S), {}};
  throw_if_error(source.read(n,
                             {.tokens = all.tokens.data(),
                              .targets = all.targets.data(),
                              .positions = all.positions.data(),
                              .tags = source.tags() > 0 ? all.tags.data() : nullptr},
                             all.piece_starts));
  return all;
}

TEST(RandomDocuments, HaveDocumentsThatSequencesCut) {
  const auto source = random_documents(50, 11, 3, 7);
  std::set<int64_t> tags;
  int64_t counted = 0, pieces = 0;
  for (int64_t n = 0; n < 40; ++n) {
    const Sequence all = read(*source, n);
    EXPECT_EQ(all.piece_starts.front(), 0);
    pieces += static_cast<int64_t>(all.piece_starts.size());
    for (size_t i = 0; i < 50; ++i) {
      EXPECT_THAT(all.tokens[i], testing::AllOf(testing::Ge(0), testing::Lt(11)));
      const bool begins = i == 0 || all.targets[i - 1] < 0;
      EXPECT_EQ(all.positions[i], begins ? 0 : all.positions[i - 1] + 1);
      if (!begins) {
        EXPECT_EQ(all.tokens[i], all.targets[i - 1]);
        EXPECT_EQ(all.tags[i], all.tags[i - 1]);
      }
      counted += all.targets[i] >= 0;
      tags.insert(all.tags[i]);
    }
    // A document goes on in the next sequence.
    if (all.targets.back() >= 0) {
      EXPECT_EQ(read(*source, n + 1).tokens.front(), all.targets.back());
    }
  }
  EXPECT_EQ(counted, source->targets(0, 40));
  EXPECT_EQ(tags, (std::set<int64_t>{-1, 0, 1, 2}));
  EXPECT_NEAR(static_cast<double>(pieces), 40 + 2000 / 8, 60);
}

TEST(RandomDocuments, DependOnTheSeedAlone) {
  EXPECT_EQ(read(*random_documents(20, 99, 0, 1), 3).tokens, read(*random_documents(20, 99, 0, 1), 3).tokens);
  EXPECT_NE(read(*random_documents(20, 99, 0, 1), 3).tokens, read(*random_documents(20, 99, 0, 2), 3).tokens);
}

TEST(FoldedTokens, StayInASmallerVocabulary) {
  const auto source = folded(random_documents(30, 100, 0, 1), 7);
  const Sequence whole = read(*random_documents(30, 100, 0, 1), 2), small = read(*source, 2);
  for (size_t i = 0; i < 30; ++i) {
    EXPECT_EQ(small.tokens[i], whole.tokens[i] % 7);
    EXPECT_EQ(small.targets[i], whole.targets[i] < 0 ? -1 : whole.targets[i] % 7);
  }
  EXPECT_EQ(source->targets(0, 9), random_documents(30, 100, 0, 1)->targets(0, 9));
}

TEST(FindTokens, TakesNoRandomOnesForDataThatIsNotThere) {
  RunConfig config;
  config.data.train = "random";
  EXPECT_EQ(value_or_throw(find_tokens(config, 10)).describe(), "random tokens in random documents");
  config.data.train = "no/such/data";
  const absl::Status status = find_tokens(config, 10).status();
  EXPECT_EQ(error_category(status), ErrorCategory::kMissingInput);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("data.train: there is no no/such/data.idx"));
}

}  // namespace
}  // namespace switchyard
