#include "launch/data/batch_loader.h"

#include <deque>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/launch/data/data_testing.h"

namespace switchyard {
namespace {

constexpr int64_t kSequence = 8;

class BatchLoaderTest : public testing::Test {
 protected:
  BatchLoaderTest() {
    std::vector<int64_t> lengths;
    for (int64_t d = 0; d < 25; ++d) lengths.push_back(1 + d * 7 % 19);
    prefix_ = write_documents(folder_ / "d", lengths);
  }

  std::unique_ptr<SequenceSource> source(std::optional<uint64_t> seed = 6) const {
    return value_or_throw(open_sequences(prefix_, {.sequence = kSequence, .vocabulary = 1 << 20, .seed = seed}));
  }
  BatchLoader loader(int64_t batch, int64_t accumulation, int64_t ranks = 1, int64_t rank = 0) const {
    return BatchLoader(source(), {.global_batch = batch, .accumulation = accumulation, .data = {ranks, rank}});
  }

  const TemporaryFolder folder_;
  std::string prefix_;
};

void expect_same(const TokenBatch& a, const TokenBatch& b) {
  EXPECT_TRUE(at::equal(a.tokens, b.tokens));
  EXPECT_TRUE(at::equal(a.targets, b.targets));
  EXPECT_TRUE(at::equal(a.positions, b.positions));
  EXPECT_EQ(a.piece_starts, b.piece_starts);
  EXPECT_EQ(a.sequences, b.sequences);
  EXPECT_EQ(a.first_token, b.first_token);
  EXPECT_EQ(a.part_tokens, b.part_tokens);
  EXPECT_EQ(a.global_targets, b.global_targets);
  EXPECT_EQ(a.parts, b.parts);
  EXPECT_EQ(a.step, b.step);
}

// What the ranks hold of one part, put together in rank order.
TokenBatch join(const std::vector<TokenBatch>& shares) {
  TokenBatch whole = shares[0];
  std::vector<at::Tensor> tokens, targets, positions;
  whole.piece_starts.clear();
  whole.sequences = 0;
  for (const TokenBatch& share : shares) {
    EXPECT_EQ(share.first_token, whole.sequences * kSequence);
    EXPECT_EQ(share.piece_starts.back(), share.sequences * kSequence);
    for (size_t i = 0; i + 1 < share.piece_starts.size(); ++i) {
      whole.piece_starts.push_back(share.first_token + share.piece_starts[i]);
    }
    whole.sequences += share.sequences;
    tokens.push_back(share.tokens);
    targets.push_back(share.targets);
    positions.push_back(share.positions);
  }
  whole.tokens = at::cat(tokens);
  whole.targets = at::cat(targets);
  whole.positions = at::cat(positions);
  whole.piece_starts.push_back(whole.sequences * kSequence);
  return whole;
}

TEST_F(BatchLoaderTest, RanksTogetherHoldWhatOneRankHolds) {
  for (const int64_t ranks : {1, 2, 3, 7}) {
    SCOPED_TRACE(ranks);
    BatchLoader one = loader(10, 2);
    std::deque<BatchLoader> all;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      all.emplace_back(source(), BatchLoader::Options{.global_batch = 10, .accumulation = 2, .data = {ranks, rank}});
    }
    for (int64_t step = 0; step < 8; ++step) {  // beyond one epoch
      for (int64_t part = 0; part < 2; ++part) {
        std::vector<TokenBatch> shares;
        for (BatchLoader& rank : all) shares.push_back(value_or_throw(rank.load(step, part)));
        expect_same(join(shares), value_or_throw(one.load(step, part)));
      }
    }
  }
}

TEST_F(BatchLoaderTest, GlobalTargetsCountTheStep) {
  for (const int64_t accumulation : {1, 2, 5}) {
    BatchLoader loads = loader(10, accumulation);
    for (int64_t step = 0; step < 5; ++step) {
      int64_t counted = 0;
      int64_t said = 0;
      for (int64_t part = 0; part < accumulation; ++part) {
        const TokenBatch batch = value_or_throw(loads.load(step, part));
        counted += batch.targets.ge(0).sum().item<int64_t>();
        said = batch.global_targets;
        EXPECT_EQ(batch.part_tokens, 10 / accumulation * kSequence);
        EXPECT_EQ(batch.parts, accumulation);
        EXPECT_EQ(batch.step, step);
      }
      EXPECT_EQ(said, counted);
    }
  }
}

TEST_F(BatchLoaderTest, AccumulationOnlyCutsTheStep) {
  BatchLoader whole = loader(6, 1), parts = loader(6, 3);
  for (int64_t step = 0; step < 4; ++step) {
    std::vector<at::Tensor> tokens;
    for (int64_t part = 0; part < 3; ++part) tokens.push_back(value_or_throw(parts.load(step, part)).tokens);
    EXPECT_TRUE(at::equal(at::cat(tokens), value_or_throw(whole.load(step, 0)).tokens));
  }
}

TEST_F(BatchLoaderTest, ResumingContinues) {
  BatchLoader straight = loader(6, 2);
  std::vector<TokenBatch> batches;
  for (int64_t step = 0; step < 9; ++step) {
    for (int64_t part = 0; part < 2; ++part) batches.push_back(value_or_throw(straight.load(step, part)));
  }
  for (const int64_t from : {1, 4, 8}) {
    BatchLoader resumed = loader(6, 2);
    for (int64_t step = from; step < 9; ++step) {
      for (int64_t part = 0; part < 2; ++part) {
        expect_same(value_or_throw(resumed.load(step, part)), batches[static_cast<size_t>(2 * step + part)]);
      }
    }
  }
  // Steps in any order: what was loaded ahead is not taken for something else.
  BatchLoader jumping = loader(6, 2);
  for (const int64_t i : {5, 6, 2, 17, 16, 17, 0}) {
    expect_same(value_or_throw(jumping.load(i / 2, i % 2)), batches[static_cast<size_t>(i)]);
  }
}

TEST_F(BatchLoaderTest, ARankWithoutSequences) {
  BatchLoader loads = loader(2, 1, 3, 0);  // cut(2, 3, 0) is empty
  const TokenBatch batch = value_or_throw(loads.load(0, 0));
  EXPECT_EQ(batch.sequences, 0);
  EXPECT_EQ(batch.tokens.numel(), 0);
  EXPECT_EQ(batch.piece_starts, std::vector<int64_t>{0});
  EXPECT_EQ(batch.part_tokens, 2 * kSequence);
  EXPECT_GT(batch.global_targets, 0);
}

TEST_F(BatchLoaderTest, AnErrorComesBackFromAheadToo) {
  const auto bad = [&] {
    return value_or_throw(open_sequences(prefix_, {.sequence = kSequence, .vocabulary = 24'000}));
  };
  BatchLoader loads(bad(), {.global_batch = 1});
  const int64_t last = bad()->sequences_per_epoch() - 1;
  ASSERT_TRUE(loads.load(0, 0).ok());
  bool failed = false;
  for (int64_t step = 1; step <= last && !failed; ++step) {
    const auto batch = loads.load(step, 0);
    failed = !batch.ok();
    if (failed) {
      expect_error(batch.status(), ErrorCategory::kBadData, {"d.bin", "document 24"});
    }
  }
  EXPECT_TRUE(failed);
}

TEST_F(BatchLoaderTest, ValidationIsTheSameOnePassOnAnyRanks) {
  const int64_t all = source()->sequences_per_epoch();
  for (const int64_t wanted : {int64_t{0}, int64_t{7}, all + 100}) {
    const int64_t expected = wanted == 7 ? 7 : all;
    ValidationLoader one(source(std::nullopt), wanted, 4, {});
    ValidationLoader half0(source(std::nullopt), wanted, 4, {2, 0}), half1(source(std::nullopt), wanted, 4, {2, 1});
    EXPECT_EQ(one.parts(), (expected + 3) / 4);
    int64_t sequences = 0, targets = 0, said = 0;
    for (int64_t part = 0; part < one.parts(); ++part) {
      const TokenBatch batch = value_or_throw(one.load(part));
      sequences += batch.sequences;
      targets += batch.targets.ge(0).sum().item<int64_t>();
      said = batch.global_targets;
      EXPECT_EQ(batch.part_tokens, batch.sequences * kSequence);
      expect_same(join({value_or_throw(half0.load(part)), value_or_throw(half1.load(part))}), batch);
    }
    EXPECT_EQ(sequences, expected);
    EXPECT_EQ(targets, said);
  }
}

}  // namespace
}  // namespace switchyard
