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

// What is packed at a time stays in the second-level cache: [kRows, kInner] of a, [kInner, kColumns] of b.
constexpr int64_t kRows = 128;
constexpr int64_t kColumns = 512;
template <typename S>
constexpr int64_t kInner = std::is_same_v<S, float> ? 256 : 512;

__mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count >= kTile ? 0xFFFF : count <= 0 ? 0 : (1u << count) - 1);
}

__m512 widen(__m256i halves) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

// The terms of the numbers from `low` on and of those from `high` on, at most 16 each, one after the other.
void split(const float* low, __mmask16 low_mask, const float* high, __mmask16 high_mask, __m512i* terms) {
  __m512 low_rest = _mm512_maskz_loadu_ps(low_mask, low), high_rest = _mm512_maskz_loadu_ps(high_mask, high);
  for (int t = 0; t < kTerms<float>; ++t) {
    terms[t] = (__m512i)_mm512_cvtne2ps_pbh(high_rest, low_rest);
    low_rest = _mm512_sub_ps(low_rest, widen(_mm512_castsi512_si256(terms[t])));
    high_rest = _mm512_sub_ps(high_rest, widen(_mm512_extracti64x4_epi64(terms[t], 1)));
  }
}
void split(const Bf16* low, __mmask16 low_mask, const Bf16* high, __mmask16 high_mask, __m512i* terms) {
  terms[0] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_maskz_loadu_epi16(low_mask, low)),
                                _mm256_maskz_loadu_epi16(high_mask, high), 1);
}

// Swaps rows and columns of a tile's words.
void transpose(Bf16* tile) {
  __m512i r[16], s[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_load_si512(tile + i * kStep);
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
    _mm512_store_si512(tile + i * kStep, _mm512_shuffle_i32x4(s[i], s[i + 8], 0x88));
    _mm512_store_si512(tile + (i + 8) * kStep, _mm512_shuffle_i32x4(s[i], s[i + 8], 0xDD));
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

template <typename S>
void pack_tile(const Lines<S>& from, int64_t line, int64_t lines, int64_t inner, int64_t inner_count, Bf16* out) {
  // Numbers i and 16 + i become neighbours.
  const __m512i neighbours = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
                                              6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __mmask16 all_lines = first_lanes(lines), none = 0;
  const __mmask16 first_half = first_lanes(inner_count), second_half = first_lanes(inner_count - kTile);
  for (int64_t i = 0; i < kTile; ++i) {
    __m512i terms[kTerms<S>];
    if (from.one_by_one) {
      const S* own = from.at(line + i, inner);
      split(own, i < lines ? first_half : none, own + kTile, i < lines ? second_half : none, terms);
    } else {
      const S* pair = from.at(line, inner + 2 * i);
      split(pair, 2 * i < inner_count ? all_lines : none, pair + from.stride,
            2 * i + 1 < inner_count ? all_lines : none, terms);
      for (__m512i& term : terms) term = _mm512_permutexvar_epi16(neighbours, term);
    }
    for (int t = 0; t < kTerms<S>; ++t) _mm512_store_si512(out + t * kTermSize + i * kStep, terms[t]);
  }
  if (from.one_by_one == from.rows) return;
  for (int t = 0; t < kTerms<S>; ++t) transpose(out + t * kTermSize);
}

int64_t steps_of(int64_t inner_count) {
  return (inner_count + kStep - 1) / kStep;
}

// Panel after panel; what the last one or its last step lacks is zero.
template <typename S>
void pack(const Lines<S>& from, int64_t line, int64_t lines, int64_t inner, int64_t inner_count, Bf16* out) {
  const int64_t steps = steps_of(inner_count);
  for (int64_t s = 0; s < steps; ++s) {
    for (int64_t first = 0; first < lines; first += kPanel) {
      for (int64_t half = 0; half < 2; ++half) {
        const int64_t begin = first + half * kTile;
        pack_tile(from, line + begin, lines - begin, inner + s * kStep, inner_count - s * kStep,
                  out + (first / kPanel * steps + s) * kTerms<S> * kTermSize + half * kTileSize);
      }
    }
  }
}

}  // namespace
}  // namespace switchyard
