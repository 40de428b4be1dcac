// Operands of products by tiles (matmul_amx.cpp), as Intel's AMX wants them. Included inside that source's target
// pragma alone; nothing here leaves it.
#pragma once

#include <cstdint>
#include <type_traits>

#include <immintrin.h>

namespace switchyard {
namespace {

using Bf16 = uint16_t;

// Of a number of type S.
template <typename S>
constexpr int kTerms = std::is_same_v<S, float> ? 3 : 1;

// A tile is 16 rows of 16 words; a word is two bf16 numbers that are neighbours along the inner dimension. One
// instruction adds the product [16, 32]·[32, 16] of two tiles to a tile of fp32 sums. Operands are packed in panels of
// two tiles side by side, step by step along the inner dimension, in each step term by term.
constexpr int64_t kTile = 16;
constexpr int64_t kPanel = 2 * kTile;
constexpr int64_t kStep = 32;                 // along the inner dimension
constexpr int64_t kTileSize = kTile * kStep;  // bf16 numbers
constexpr int64_t kTermSize = 2 * kTileSize;  // of a panel and step
constexpr int64_t kRowBytes = kStep * sizeof(uint16_t);

// What is packed of b at a time stays in the second-level cache: [kInner, kColumns].
constexpr int64_t kColumns = 512;
template <typename S>
constexpr int64_t kInner = std::is_same_v<S, float> ? 256 : 512;

__mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count >= kTile ? 0xFFFF : count <= 0 ? 0 : (1u << count) - 1);
}

// Each number rounded to the eight bits that bf16 holds.
__m512 round(__m512 numbers) {
  const __m512i half = _mm512_set1_epi32(0x8000), upper = _mm512_set1_epi32(0xFFFF0000);
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(numbers), half), upper));
}

// Words of two bf16 numbers: the upper halves of `low` and of `high`.
__m512i pair(__m512 low, __m512 high) {
  return _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_srli_epi32(_mm512_castps_si512(low), 16),
                                 _mm512_castps_si512(high));
}

// Pairs of the terms of `low` and `high`. Of a number's 24 bits two terms leave eight, which fit in the third.
void split(__m512 low, __m512 high, __m512i* terms) {
  for (int t = 0; t < 2; ++t) {
    const __m512 low_term = round(low), high_term = round(high);
    terms[t] = pair(low_term, high_term);
    low = _mm512_sub_ps(low, low_term);
    high = _mm512_sub_ps(high, high_term);
  }
  terms[2] = pair(low, high);
}

// Swaps rows and columns of 16 rows of 16 words.
void transpose(__m512i* r) {
  __m512i s[16];
  for (int i = 0; i < 16; i += 2) {
    s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    s[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    s[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xDD);
    s[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    s[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xDD);
  }
  for (int i = 0; i < 8; ++i) {
    r[i] = _mm512_shuffle_i32x4(s[i], s[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(s[i], s[i + 8], 0xDD);
  }
}

// Rows of a or columns of b, which meet along the inner dimension.
template <typename S>
struct Lines {
  const S* data;
  int64_t stride;
  bool one_by_one;  // stored so; else the numbers of all lines lie side by side
  bool rows;        // a line is a row of its tile; else a column

  const S* at(int64_t line, int64_t inner) const {
    return one_by_one ? data + line * stride + inner : data + inner * stride + line;
  }
};

// At most kTile lines and kStep numbers of each. Of fp32 numbers i and 16 + i of a step share a word.
void pack_tile(const Lines<float>& from, int64_t line, int64_t lines, int64_t inner, int64_t inner_count, Bf16* out) {
  const auto store = [out](int64_t row, __m512 low, __m512 high) {
    __m512i terms[kTerms<float>];
    split(low, high, terms);
    for (int t = 0; t < kTerms<float>; ++t) _mm512_store_si512(out + t * kTermSize + row * kStep, terms[t]);
  };
  if (from.one_by_one == from.rows) {
    const bool rows = from.rows;
    for (int64_t i = 0; i < kTile; ++i) {
      const float* low = rows ? from.at(line + i, inner) : from.at(line, inner + i);
      const float* high = low + kTile * (rows ? 1 : from.stride);
      const __mmask16 low_mask =
          rows ? (i < lines ? first_lanes(inner_count) : 0) : (i < inner_count ? first_lanes(lines) : 0);
      const __mmask16 high_mask = rows ? (i < lines ? first_lanes(inner_count - kTile) : 0)
                                       : (i + kTile < inner_count ? first_lanes(lines) : 0);
      store(i, _mm512_maskz_loadu_ps(low_mask, low), _mm512_maskz_loadu_ps(high_mask, high));
    }
    return;
  }
  __m512i half[2][kTile];
  for (int64_t h = 0; h < 2; ++h) {
    for (int64_t i = 0; i < kTile; ++i) {
      const int64_t k = h * kTile;
      const float* own = from.rows ? from.at(line, inner + k + i) : from.at(line + i, inner + k);
      const __mmask16 mask =
          from.rows ? (k + i < inner_count ? first_lanes(lines) : 0) : (i < lines ? first_lanes(inner_count - k) : 0);
      half[h][i] = _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, own));
    }
    transpose(half[h]);
  }
  for (int64_t i = 0; i < kTile; ++i) store(i, _mm512_castsi512_ps(half[0][i]), _mm512_castsi512_ps(half[1][i]));
}

// The same of bf16 numbers, of which 2·i and 2·i + 1 share a word.
void pack_tile(const Lines<Bf16>& from, int64_t line, int64_t lines, int64_t inner, int64_t inner_count, Bf16* out) {
  const __m512i neighbours = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
                                              6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  __m512i words[kTile];
  for (int64_t i = 0; i < kTile; ++i) {
    if (from.one_by_one) {
      const __mmask32 mask = i < lines ? (inner_count >= kStep ? 0xFFFFFFFF : (1u << inner_count) - 1) : 0;
      words[i] = _mm512_maskz_loadu_epi16(mask, from.at(line + i, inner));
    } else {
      const Bf16* pair = from.at(line, inner + 2 * i);
      const __mmask16 all = first_lanes(lines);
      const __m256i low = _mm256_maskz_loadu_epi16(2 * i < inner_count ? all : 0, pair);
      const __m256i high = _mm256_maskz_loadu_epi16(2 * i + 1 < inner_count ? all : 0, pair + from.stride);
      words[i] = _mm512_permutexvar_epi16(neighbours, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
    }
  }
  if (from.one_by_one != from.rows) transpose(words);
  for (int64_t i = 0; i < kTile; ++i) _mm512_store_si512(out + i * kStep, words[i]);
}

int64_t steps_of(int64_t inner_count) {
  return (inner_count + kStep - 1) / kStep;
}

// Lines from `line` on, kPanel of them where `lines` allows, between `inner` and inner + inner_count.
template <typename S>
struct Panel {
  Lines<S> from;
  int64_t line, lines, inner, inner_count;

  int64_t tiles() const { return 2 * steps_of(inner_count); }
  // Numbers that lack are zero.
  void pack(int64_t tile, Bf16* out) const {
    const int64_t step = tile / 2, half = tile % 2, begin = line + half * kTile;
    pack_tile(from, begin, lines - begin, inner + step * kStep, inner_count - step * kStep,
              out + step * kTerms<S> * kTermSize + half * kTileSize);
  }
};

// Brings a panel's numbers into the second-level cache, a few cache lines at a time.
template <typename S>
class Fetching {
 public:
  Fetching() = default;
  explicit Fetching(const Panel<S>& panel) {
    const int64_t count = std::min(kPanel, panel.lines - panel.line);
    if (count <= 0) return;
    const bool one_by_one = panel.from.one_by_one;
    row_ = reinterpret_cast<const char*>(panel.from.at(panel.line, panel.inner));
    stride_ = panel.from.stride * sizeof(S);
    rows_ = one_by_one ? count : panel.inner_count;
    bytes_ = (one_by_one ? panel.inner_count : count) * sizeof(S);
  }

  int64_t cache_lines() const { return rows_ * ((bytes_ + kCacheLine - 1) / kCacheLine); }
  void fetch(int64_t cache_lines) {
    for (; cache_lines > 0 && rows_ > 0; --cache_lines) {
      _mm_prefetch(row_ + at_, _MM_HINT_T1);
      at_ += kCacheLine;
      if (at_ < bytes_) continue;
      at_ = 0;
      row_ += stride_;
      --rows_;
    }
  }

 private:
  static constexpr int64_t kCacheLine = 64;
  const char* row_ = nullptr;
  int64_t stride_ = 0, rows_ = 0, bytes_ = 0, at_ = 0;
};

}  // namespace
}  // namespace switchyard
