#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include <immintrin.h>

#include "layers/ops/matmul_backends.h"

// Of everything below; what other headers bring stays code for any x86-64-v3 processor.
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512bf16,amx-tile,amx-bf16")
// GCC 12 takes the undefined lanes of its own intrinsics for a mistake.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include "layers/ops/amx_tiles.h"

namespace switchyard {
namespace {

// A number is split into so many terms; a step of a panel holds one after the other.
constexpr int kTerms = 3;
constexpr int64_t kPanelStepSize = kTerms * kStepSize;

// What is packed of b at a time stays in the second-level cache: [kInner, kColumns].
constexpr int64_t kColumns = 512;
constexpr int64_t kInner = 256;

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

// Rows of a or columns of b, which meet along the inner dimension.
struct Lines {
  const float* data;
  int64_t stride;
  bool one_by_one;  // stored so; else the numbers of all lines lie side by side
  bool rows;        // a line is a row of its tile; else a column

  const float* at(int64_t line, int64_t inner) const {
    return one_by_one ? data + line * stride + inner : data + inner * stride + line;
  }
};

// At most kTile lines and kStep numbers of each. Of fp32 numbers i and 16 + i of a step share a word.
void pack_tile(const Lines& from, int64_t line, int64_t lines, int64_t inner, int64_t inner_count, Bf16* out) {
  const auto store = [out](int64_t row, __m512 low, __m512 high) {
    __m512i terms[kTerms];
    split(low, high, terms);
    for (int t = 0; t < kTerms; ++t) _mm512_store_si512(out + t * kStepSize + row * kStep, terms[t]);
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

// Lines from `line` on, kPanel of them where `lines` allows, between `inner` and inner + inner_count.
struct Panel {
  Lines from;
  int64_t line, lines, inner, inner_count;

  int64_t tiles() const { return 2 * share_of(inner_count, kStep); }
  // Numbers that lack are zero.
  void pack(int64_t tile, Bf16* out) const {
    const int64_t step = tile / 2, half = tile % 2, begin = line + half * kTile;
    pack_tile(from, begin, lines - begin, inner + step * kStep, inner_count - step * kStep,
              out + step * kPanelStepSize + half * kTileSize);
  }
};

#define SY_LOAD_A(term)                            \
  _tile_loadd(4, a + (term)*kStepSize, kRowBytes); \
  _tile_loadd(5, a + (term)*kStepSize + kTileSize, kRowBytes)
#define SY_LOAD_B(term)                            \
  _tile_loadd(6, b + (term)*kStepSize, kRowBytes); \
  _tile_loadd(7, b + (term)*kStepSize + kTileSize, kRowBytes)

// Products of tile pairs a step: of the nine of three terms with three those that count.
constexpr int64_t kPairs = 6;

// Adds the product of two panels to the sums; `beside` is called after every product of tile pairs.
template <typename Beside>
void multiply_panels(const Bf16* a, const Bf16* b, int64_t steps, const Beside& beside) {
  for (int64_t s = 0; s < steps; ++s, a += kPanelStepSize, b += kPanelStepSize) {
    SY_LOAD_A(2);
    SY_LOAD_B(0);
    multiply_tiles();
    beside();
    SY_LOAD_A(0);
    multiply_tiles();
    beside();
    SY_LOAD_B(2);
    multiply_tiles();
    beside();
    SY_LOAD_B(1);
    multiply_tiles();
    beside();
    SY_LOAD_A(1);
    multiply_tiles();
    beside();
    SY_LOAD_B(0);
    multiply_tiles();
    beside();
  }
}

class Multiplication {
 public:
  Multiplication(const Product& product, const float* a, const float* b, float* c)
      : p_(product), rows_{a, p_.lda, !p_.transpose_a, true}, columns_{b, p_.ldb, p_.transpose_b, false}, c_(c) {}

  void run() {
    configure_tiles();
    for (int64_t j0 = 0; j0 < p_.n; j0 += kColumns) {
      for (int64_t k0 = 0; k0 < p_.k; k0 += kInner) {
        multiply_part({j0, std::min(kColumns, p_.n - j0), k0, std::min(kInner, p_.k - k0)});
      }
    }
    outgoing_.write(kPanel);
    _tile_release();
  }

 private:
  // Columns of c, and the part of the inner dimension that is added to them.
  struct Part {
    int64_t column, columns, inner, inner_count;
    int64_t panels() const { return share_of(columns, kPanel); }
    int64_t steps() const { return share_of(inner_count, kStep); }
    int64_t tiles() const { return 2 * steps(); }  // of a panel
    int64_t packed_size() const { return steps() * kPanelStepSize; }
  };

  // Tiles [next, end) of a panel, packed one by one.
  struct Packing {
    Panel panel;
    Bf16* out;
    int64_t next, end;

    void advance() {
      if (next < end) panel.pack(next++, out);
    }
    void finish() {
      while (next < end) advance();
    }
  };

  // Panels of a take turns in two places; those of b that a part has are all kept.
  Packing packing_a(const Part& part, int64_t i) const {
    return {panel_a(part, i), packed_a(part, i), 0, i * kPanel < p_.m ? part.tiles() : 0};
  }
  Packing packing_b(const Part& part, int64_t j) const {
    return {panel_b(part, j), packed_b(part, j), 0, part.tiles()};
  }
  Bf16* packed_a(const Part& part, int64_t i) const { return a_ + i % 2 * part.packed_size(); }
  Bf16* packed_b(const Part& part, int64_t j) const { return b_ + j * part.packed_size(); }
  Panel panel_a(const Part& part, int64_t i) const { return {rows_, i * kPanel, p_.m, part.inner, part.inner_count}; }
  Panel panel_b(const Part& part, int64_t j) const {
    return {columns_, part.column + j * kPanel, part.column + part.columns, part.inner, part.inner_count};
  }

  void multiply_part(const Part& part) {
    packing_a(part, 0).finish();
    packing_b(part, 0).finish();
    for (int64_t i = 0; i * kPanel < p_.m; ++i) {
      for (int64_t j = 0; j < part.panels(); ++j) {
        const Block block{c_ + i * kPanel * p_.ldc + part.column + j * kPanel, p_.ldc,
                          std::min(kPanel, p_.m - i * kPanel), std::min(kPanel, part.columns - j * kPanel),
                          p_.accumulate || part.inner > 0};
        multiply_block(packed_a(part, i), packed_b(part, j), part.steps(), block, prepare(part, i, j));
      }
    }
  }

  // What is packed and fetched beside block (i, j). The panels' order: the first of a, all of b, one a block, then the
  // others of a, each in shares while the one before it meets all of b. They are fetched one ahead of that.
  Packing prepare(const Part& part, int64_t i, int64_t j) {
    const int64_t panels = part.panels(), calls = part.steps() * kPairs;
    if (i == 0) {
      fetch(j + 2 < panels ? panel_b(part, j + 2) : panel_a(part, j + 3 - panels), calls);
      return j + 1 < panels ? packing_b(part, j + 1) : packing_a(part, 1);
    }
    if (j == 0) fetch(panel_a(part, i + 2), calls * panels);
    Packing packing = packing_a(part, i + 1);
    packing.next = packing.end * j / panels;
    packing.end = packing.end * (j + 1) / panels;
    return packing;
  }

  void fetch(const Panel& panel, int64_t calls) {
    const int64_t lines = std::clamp<int64_t>(panel.lines - panel.line, 0, kPanel);
    const bool one_by_one = panel.from.one_by_one;
    fetching_ = Fetching(panel.from.at(panel.line, panel.inner), panel.from.stride * sizeof(float),
                         one_by_one || lines == 0 ? lines : panel.inner_count,
                         (one_by_one ? panel.inner_count : lines) * sizeof(float));
    fetch_share_ = share_of(fetching_.cache_lines(), calls);
  }

  void multiply_block(const Bf16* a, const Bf16* b, int64_t steps, const Block& block, Packing packing) {
    const int64_t rows = share_of(kPanel, steps * kPairs);
    outgoing_.after = block.c;
    zero_sums();
    multiply_panels(a, b, steps, [&] {
      outgoing_.write(rows);
      packing.advance();
      fetching_.fetch(fetch_share_);
    });
    packing.finish();
    outgoing_.take(block);
  }

  const Product p_;
  const Lines rows_, columns_;
  float* const c_;
  Bf16* const a_ = room<struct PanelsOfA>(2 * kPanel * kInner * kTerms);
  Bf16* const b_ = room<struct PanelsOfB>(kColumns * kInner * kTerms);
  Outgoing outgoing_;
  Fetching fetching_;
  int64_t fetch_share_ = 0;
};

}  // namespace

void amx_fp32_product(const Product& product, const float* a, const float* b, float* c) {
  Multiplication(product, a, b, c).run();
}

}  // namespace switchyard

#pragma GCC diagnostic pop
#pragma GCC pop_options
