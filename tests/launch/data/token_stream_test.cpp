#include "launch/data/token_stream.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "launch/data/data_config.h"
#include "launch/data/permutation.h"
#include "tests/launch/data/data_testing.h"

namespace switchyard {
namespace {

struct Sequence {
  std::vector<int64_t> tokens, targets, positions, piece_starts;
  bool operator==(const Sequence&) const = default;
};

Sequence read(SequenceSource& source, int64_t n) {
  const auto size = static_cast<size_t>(source.sequence());
  Sequence result{std::vector<int64_t>(size), std::vector<int64_t>(size), std::vector<int64_t>(size), {}};
  throw_if_error(
      source.read(n, {result.tokens.data(), result.targets.data(), result.positions.data(), 0}, result.piece_starts));
  return result;
}

// The same packing, token by token, for documents in the order given (see write_documents for their tokens).
std::vector<Sequence> pack(const std::vector<int64_t>& lengths, const std::vector<int64_t>& order, int64_t sequence) {
  struct Token {
    int64_t token, target;
    bool begins;
  };
  std::vector<Token> stream;
  for (const int64_t d : order) {
    const int64_t length = lengths[static_cast<size_t>(d)];
    for (int64_t i = 0; i < length; ++i) {
      stream.push_back({1000 * d + i, i + 1 < length ? 1000 * d + i + 1 : -1, i == 0});
    }
  }
  std::vector<Sequence> sequences;
  for (size_t at = 0; at + static_cast<size_t>(sequence) <= stream.size(); at += static_cast<size_t>(sequence)) {
    Sequence result;
    for (int64_t i = 0; i < sequence; ++i) {
      const Token& token = stream[at + static_cast<size_t>(i)];
      if (i == 0 || token.begins) result.piece_starts.push_back(i);
      result.tokens.push_back(token.token);
      result.targets.push_back(token.target);
      result.positions.push_back(i - result.piece_starts.back());
    }
    sequences.push_back(std::move(result));
  }
  return sequences;
}

std::vector<int64_t> random_lengths(std::mt19937& random) {
  std::vector<int64_t> lengths(1 + random() % 40);
  for (int64_t& length : lengths) length = static_cast<int64_t>(random() % 4 == 0 ? random() % 90 : random() % 12);
  return lengths;
}

TEST(TokenStream, PacksLikeTheNaiveReference) {
  const TemporaryFolder folder;
  std::mt19937 random(1);
  int compared = 0;
  for (int trial = 0; trial < 30; ++trial) {
    const std::vector<int64_t> lengths = random_lengths(random);
    const int64_t total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
    const SourceOptions options{.sequence = 1 + static_cast<int64_t>(random() % 33), .vocabulary = 1 << 30};
    if (total < options.sequence) continue;
    const auto source = value_or_throw(TokenStream::create(
        value_or_throw(IndexedDataset::open(write_documents(folder / "d", lengths))), std::nullopt, options));
    std::vector<int64_t> order(lengths.size());
    std::iota(order.begin(), order.end(), 0);
    const auto expected = pack(lengths, order, options.sequence);
    ASSERT_EQ(source->sequences_per_epoch(), static_cast<int64_t>(expected.size()));
    int64_t targets = 0;
    for (size_t n = 0; n < expected.size(); ++n, ++compared) {
      ASSERT_EQ(read(*source, static_cast<int64_t>(n)), expected[n]) << "trial " << trial << " sequence " << n;
      targets +=
          std::count_if(expected[n].targets.begin(), expected[n].targets.end(), [](int64_t t) { return t >= 0; });
      ASSERT_EQ(source->targets(0, static_cast<int64_t>(n) + 1), targets);
    }
    // Without a seed the next epoch is the same again.
    ASSERT_EQ(read(*source, source->sequences_per_epoch()), expected[0]);
  }
  EXPECT_GT(compared, 100);
}

TEST(TokenStream, ShuffledEpochsAreThePackingOfAPermutation) {
  const TemporaryFolder folder;
  std::mt19937 random(2);
  for (int trial = 0; trial < 8; ++trial) {
    std::vector<int64_t> lengths = random_lengths(random);
    lengths.push_back(40);
    const int64_t S = 7;
    const auto data = [&] { return value_or_throw(IndexedDataset::open((folder / "d").string())); };
    write_documents(folder / "d", lengths);
    const auto source = value_or_throw(TokenStream::create(
        data(), std::nullopt, {.sequence = S, .vocabulary = 1 << 30, .seed = 5u + static_cast<uint64_t>(trial)}));
    const int64_t per_epoch = source->sequences_per_epoch();
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      const EpochOrder order(data(), per_epoch, 5u + static_cast<uint64_t>(trial), epoch);
      std::vector<int64_t> documents;
      for (size_t d = 0; d < lengths.size(); ++d) documents.push_back(static_cast<int64_t>(d));
      std::erase_if(documents, [&](int64_t d) { return lengths[static_cast<size_t>(d)] == 0; });
      std::vector<int64_t> shuffled;
      for (size_t slot = 0; slot < documents.size(); ++slot)
        shuffled.push_back(order.document(static_cast<int64_t>(slot)));
      ASSERT_TRUE(std::is_permutation(shuffled.begin(), shuffled.end(), documents.begin(), documents.end()));
      const auto expected = pack(lengths, shuffled, S);
      std::set<int64_t> places;
      for (int64_t i = 0; i < per_epoch; ++i) {
        places.insert(order.place(i));
        ASSERT_EQ(read(*source, epoch * per_epoch + i), expected[static_cast<size_t>(order.place(i))]);
      }
      ASSERT_EQ(static_cast<int64_t>(places.size()), per_epoch);
    }
  }
}

TEST(TokenStream, TheOrderDependsOnSeedAndEpochAlone) {
  const TemporaryFolder folder;
  const std::string prefix = write_documents(folder / "d", std::vector<int64_t>(100, 50));
  const auto open = [&](uint64_t seed) {
    return value_or_throw(open_sequences(prefix, {.sequence = 50, .vocabulary = 1 << 30, .seed = seed}));
  };
  const auto a = open(1), b = open(1), c = open(2);
  int moved_by_epoch = 0, moved_by_seed = 0;
  for (int64_t n = 0; n < 100; ++n) {
    const Sequence first = read(*a, n);
    moved_by_epoch += first != read(*a, n + 100);
    moved_by_seed += first != read(*c, n);
    EXPECT_EQ(first, read(*a, n)) << "reading the next epoch changed this one";
    EXPECT_EQ(first, read(*b, n));
  }
  EXPECT_GT(moved_by_epoch, 90);
  EXPECT_GT(moved_by_seed, 90);
}

TEST(TokenStream, NeighboursInALongDocumentAreSpread) {
  const TemporaryFolder folder;
  const std::string prefix = write_documents(folder / "d", {1000, 1000});
  const auto source = value_or_throw(open_sequences(prefix, {.sequence = 10, .vocabulary = 1 << 30, .seed = 3}));
  int neighbours = 0;
  for (int64_t n = 0; n + 1 < 200; ++n) neighbours += read(*source, n).tokens[0] + 10 == read(*source, n + 1).tokens[0];
  EXPECT_LT(neighbours, 10);
}

TEST(TokenStream, TargetsOverSeveralEpochs) {
  const TemporaryFolder folder;
  const std::string prefix = write_documents(folder / "d", {3, 11, 1, 7, 0, 5});
  const auto source = value_or_throw(open_sequences(prefix, {.sequence = 5, .vocabulary = 1 << 30, .seed = 9}));
  const int64_t end = 4 * source->sequences_per_epoch() + 2;
  for (int64_t begin : {int64_t{0}, int64_t{1}, source->sequences_per_epoch() + 1}) {
    int64_t expected = 0;
    for (int64_t n = begin; n < end; ++n) {
      const Sequence sequence = read(*source, n);
      expected += std::count_if(sequence.targets.begin(), sequence.targets.end(), [](int64_t t) { return t >= 0; });
    }
    EXPECT_EQ(source->targets(begin, end), expected);
  }
}

TEST(TokenStream, TokensOutsideTheVocabulary) {
  const TemporaryFolder folder;
  const std::string prefix = write_documents(folder / "d", {5, 20});  // the largest token is 1019
  const auto open = [&](int64_t sequence, int64_t vocabulary) {
    return value_or_throw(open_sequences(prefix, {.sequence = sequence, .vocabulary = vocabulary}));
  };
  EXPECT_EQ(read(*open(25, 1020), 0).tokens.back(), 1019);
  const auto read_status = [](SequenceSource& source) {
    std::vector<int64_t> rows(3 * 25), pieces;
    return source.read(0, {rows.data(), rows.data() + 25, rows.data() + 50, 0}, pieces);
  };
  expect_error(read_status(*open(25, 1019)), ErrorCategory::kBadData, {"d.bin", "document 1", "token 1019", "1019"});
  expect_error(read_status(*open(24, 1019)), ErrorCategory::kBadData, {"document 1", "token 1019 at 19"});
  EXPECT_TRUE(read_status(*open(23, 1019)).ok());

  auto writer = value_or_throw(IndexedWriter::create((folder / "negative").string(), 1 << 20));
  throw_if_error(writer.add_document(std::vector<int32_t>{4, -3, 2}));
  throw_if_error(writer.commit());
  const auto negative =
      value_or_throw(open_sequences((folder / "negative").string(), {.sequence = 3, .vocabulary = 10}));
  expect_error(read_status(*negative), ErrorCategory::kBadData, {"negative.bin", "document 0", "token -3 at 1"});
}

TEST(TokenStream, TooLittleData) {
  const TemporaryFolder folder;
  const std::string prefix = write_documents(folder / "d", {5, 4});
  EXPECT_TRUE(open_sequences(prefix, {.sequence = 9, .vocabulary = 5000}).ok());
  expect_error(open_sequences(prefix, {.sequence = 10, .vocabulary = 5000}).status(), ErrorCategory::kBadData,
               {"d has 9 tokens", "sequence of 10"});
  expect_error(open_sequences(write_documents(folder / "e", {}), {.sequence = 1, .vocabulary = 5}).status(),
               ErrorCategory::kBadData, {"0 tokens"});
}

TEST(TokenStream, DataOfAnotherTokenizerIsRefused) {
  const TemporaryFolder folder;
  const std::string prefix = write_documents(folder / "d", {5, 4});
  SourceOptions options{.sequence = 3, .vocabulary = 5000};
  options.tokenizer_hash = "00000000000000aa";
  EXPECT_TRUE(open_sequences(prefix, options).ok()) << "data without a description is taken as it is";
  write_text(prefix + ".json", R"({"documents": 2, "tokens": 9, "vocabulary_size": 5000,
    "tokenizer": {"file": "other.model", "hash": "00000000000000bb"},
    "settings": {"input": ["x"], "format": "text", "max_length": 0, "validation_fraction": 0}})");
  expect_error(open_sequences(prefix, options).status(), ErrorCategory::kBadData,
               {prefix, "another tokenizer", "other.model"});
  options.tokenizer_hash = "00000000000000bb";
  EXPECT_TRUE(open_sequences(prefix, options).ok());
  write_text(prefix + ".json", "{\"documents\": 2}");
  expect_error(open_sequences(prefix, options).status(), ErrorCategory::kBadData, {"d.json is damaged"});
}

TEST(RandomTokens, AreUniformAndReproducible) {
  const auto source = value_or_throw(open_sequences(kRandomTokens, {.sequence = 1000, .vocabulary = 10, .seed = 4}));
  const Sequence first = read(*source, 7);
  EXPECT_EQ(first, read(*source, 7));
  EXPECT_NE(first.tokens, read(*source, 8).tokens);
  EXPECT_EQ(first.piece_starts, std::vector<int64_t>{0});
  EXPECT_TRUE(std::equal(first.tokens.begin() + 1, first.tokens.end(), first.targets.begin()));
  EXPECT_EQ(source->targets(3, 5), 2000);
  for (int64_t token = 0; token < 10; ++token) {
    // Binomial: 100 ± 9.5.
    EXPECT_NEAR(static_cast<double>(std::count(first.tokens.begin(), first.tokens.end(), token)), 100, 48);
  }
}

TEST(Permutation, IsABijectionForEverySize) {
  for (int64_t n : {1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4097}) {
    const Permutation permutation(n, 1, 2);
    std::vector<bool> seen(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      const int64_t to = permutation(i);
      ASSERT_TRUE(to >= 0 && to < n && !seen[static_cast<size_t>(to)]) << n << " " << i;
      seen[static_cast<size_t>(to)] = true;
    }
  }
}

TEST(Permutation, MixesWell) {
  // The mean distance moved by a random permutation of n is n/3.
  const int64_t n = 3000;
  const Permutation permutation(n, 1, 2), other(n, 1, 3);
  double distance = 0;
  int equal = 0;
  for (int64_t i = 0; i < n; ++i) {
    distance += static_cast<double>(std::abs(permutation(i) - i)) / static_cast<double>(n);
    equal += permutation(i) == other(i);
  }
  EXPECT_NEAR(distance / static_cast<double>(n), 1.0 / 3, 0.02);
  EXPECT_LT(equal, 12);
}

}  // namespace
}  // namespace switchyard
