#include "runtime/numerics/random.h"

#include <cmath>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using testing::ElementsAre;

// Known answers of philox4x32-10 as published with Random123 (kat_vectors). Stream 0 leaves the counter's upper half to
// the subindex.
TEST(CounterRandom, MatchesPublishedVectors) {
  EXPECT_THAT(CounterRandom(0, 0).words(0, 0), ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  EXPECT_THAT(CounterRandom(~0ull, 0).words(~0ull, ~0ull),
              ElementsAre(0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu));
  EXPECT_THAT(CounterRandom(0x299f31d0a4093822ull, 0).words(0x85a308d3243f6a88ull, 0x0370734413198a2eull),
              ElementsAre(0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u));
}

TEST(CounterRandom, HashIsFnv1a) {
  EXPECT_EQ(hash_name(""), 0xcbf29ce484222325u);
  EXPECT_EQ(hash_name("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(hash_name("foobar"), 0x85944171f73967e8u);
}

TEST(CounterRandom, StreamsAndSeedsDiffer) {
  EXPECT_NE(CounterRandom(1, 0).bits(5), CounterRandom(2, 0).bits(5));
  EXPECT_NE(CounterRandom(1, 0).bits(5), CounterRandom(1, 1).bits(5));
  EXPECT_NE(CounterRandom(1, 0).words(5, 1), CounterRandom(1, 1).words(5, 0));
}

TEST(CounterRandom, NormalsOfAnyRangeAreTheSingleOnes) {
  const CounterRandom random(7, hash_name("x"));
  std::vector<double> all(700);
  random.normals(0, all);
  for (size_t begin : {0, 1, 2, 3, 127, 128, 129, 500}) {
    for (size_t count : {0, 1, 2, 3, 4, 5, 127, 128, 129, 200}) {
      std::vector<double> part(count);
      random.normals(begin, part);
      for (size_t i = 0; i < count; ++i) {
        ASSERT_EQ(part[i], all[begin + i]) << begin << "+" << i;
        ASSERT_EQ(part[i], random.normal(begin + i));
      }
    }
  }
}

TEST(CounterRandom, CoarseUniformsAreTheWordsOfBlocks) {
  const CounterRandom random(7, hash_name("x"));
  for (size_t begin : {0, 1, 5, 511, 512, 1000}) {
    for (size_t count : {0, 1, 3, 4, 255, 256, 257, 600}) {
      std::vector<float> part(count);
      random.coarse_uniforms(begin, part);
      for (size_t i = 0; i < count; ++i) {
        const size_t at = begin + i;
        const uint32_t word = random.words(at / 8, uint64_t{1} << 32)[at % 8 / 2];
        ASSERT_EQ(part[i], static_cast<float>(at % 2 ? word >> 16 : word & 0xFFFF) / 65536) << begin << "+" << i;
      }
    }
  }
}

// Box–Muller with the C library's functions on the same words.
TEST(CounterRandom, NormalsAgreeWithTheTextbook) {
  const CounterRandom random(3, 4);
  double worst = 0;
  for (uint64_t pair = 0; pair < 20000; ++pair) {
    const auto w = random.words(pair, 1);
    const uint64_t a = uint64_t{w[1]} << 32 | w[0], b = uint64_t{w[3]} << 32 | w[2];
    const double u = 1 - static_cast<double>(a >> 12) * 0x1p-52;
    const double angle = (static_cast<double>(b >> 12) * 0x1p-52 - 0.5) * M_PI / 2;
    double x = std::sqrt(-2 * std::log(u)) * std::cos(angle) * (a & 1 ? -1 : 1);
    double y = std::sqrt(-2 * std::log(u)) * std::sin(angle);
    if (b & 1) std::swap(x, y);
    worst = std::max({worst, std::abs(random.normal(2 * pair) - x), std::abs(random.normal(2 * pair + 1) - y)});
  }
  EXPECT_LT(worst, 4e-15);
}

TEST(CounterRandom, NormalMoments) {
  const size_t n = 1 << 20;
  std::vector<double> x(n);
  CounterRandom(11, 12).normals(0, x);
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0, neighbours = 0;
  size_t beyond_two = 0;
  for (size_t i = 0; i < n; ++i) {
    m1 += x[i];
    m2 += x[i] * x[i];
    m3 += std::pow(x[i], 3);
    m4 += std::pow(x[i], 4);
    neighbours += i ? x[i] * x[i - 1] : 0;
    beyond_two += std::abs(x[i]) > 2;
  }
  const double sigma = 1 / std::sqrt(static_cast<double>(n));  // five standard errors of each moment
  EXPECT_NEAR(m1 / n, 0, 5 * sigma);
  EXPECT_NEAR(m2 / n, 1, 5 * std::sqrt(2) * sigma);
  EXPECT_NEAR(m3 / n, 0, 5 * std::sqrt(15) * sigma);
  EXPECT_NEAR(m4 / n, 3, 5 * std::sqrt(96) * sigma);
  EXPECT_NEAR(neighbours / n, 0, 5 * sigma);
  EXPECT_NEAR(static_cast<double>(beyond_two) / n, 0.0455003, 5 * std::sqrt(0.0455 * 0.9545) * sigma);
}

TEST(CounterRandom, UniformAndBelowCoverTheirRanges) {
  const CounterRandom random(1, 2);
  std::vector<int> uniform(10), below(10);
  for (uint64_t i = 0; i < 100000; ++i) {
    const double u = random.uniform(i);
    ASSERT_TRUE(u >= 0 && u < 1);
    ++uniform[static_cast<size_t>(u * 10)];
    const uint64_t b = random.below(10, i);
    ASSERT_LT(b, 10u);
    ++below[b];
  }
  for (int k = 0; k < 10; ++k) {
    EXPECT_NEAR(uniform[k], 10000, 5 * 95);
    EXPECT_NEAR(below[k], 10000, 5 * 95);
  }
  EXPECT_EQ(random.below(1, 3), 0u);
}

// Two thirds of 2^64: a plain remainder or product would hit the lower half of the range twice as often.
TEST(CounterRandom, BelowHasNoBiasForHugeRanges) {
  const uint64_t n = (1ull << 63) + (1ull << 61);
  const CounterRandom random(1, 2);
  int lower = 0;
  for (uint64_t i = 0; i < 100000; ++i) lower += random.below(n, i) < n / 5 * 2;
  EXPECT_NEAR(lower, 40000, 5 * 155);
}

}  // namespace
}  // namespace switchyard
