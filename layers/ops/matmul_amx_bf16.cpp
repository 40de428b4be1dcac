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

// Where numbers of 32 lines (rows of a or columns of b) and one step lie: line by line, or step by step side by side.
struct Source {
  const Bf16* data;
  int64_t stride;
};

// Panels of b from numbers that lie side by side: a row of a tile is two of the source, number by number in turn.
void pack_columns(const Source& from, Bf16* out) {
  const __m512i left = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                        5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i right = _mm512_add_epi16(left, _mm512_set1_epi16(kTile));
  for (int64_t i = 0; i < kTile; ++i) {
    const __m512i even = _mm512_loadu_si512(from.data + 2 * i * from.stride);
    const __m512i odd = _mm512_loadu_si512(from.data + (2 * i + 1) * from.stride);
    _mm512_store_si512(out + i * kStep, _mm512_permutex2var_epi16(even, left, odd));
    _mm512_store_si512(out + kTileSize + i * kStep, _mm512_permutex2var_epi16(even, right, odd));
  }
}

// Panels of b from numbers that lie column by column.
void pack_transposed(const Source& from, Bf16* out) {
  for (int64_t half = 0; half < kPanel; half += kTile) {
    __m512i words[kTile];
    for (int64_t i = 0; i < kTile; ++i) words[i] = _mm512_loadu_si512(from.data + (half + i) * from.stride);
    transpose(words);
    for (int64_t i = 0; i < kTile; ++i) _mm512_store_si512(out + half * kStep + i * kStep, words[i]);
  }
}

// Panels of a from numbers that lie side by side. A quarter of a register takes eight numbers of one source row, its
// four quarters those of rows eight apart, so that swapping rows and columns within quarters leaves rows of tiles.
void pack_rows(const Source& from, Bf16* out) {
  constexpr int64_t kEight = 8;
  for (int64_t line = 0; line < kPanel; line += kEight) {
    __m512i r[kEight], s[kEight];
#pragma GCC unroll 8
    for (int64_t i = 0; i < kEight; ++i) {
      const auto quarter = [&](int64_t q) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from.data + (i + q * kEight) * from.stride + line));
      };
      r[i] = _mm512_inserti32x4(_mm512_castsi128_si512(quarter(0)), quarter(1), 1);
      r[i] = _mm512_inserti32x4(_mm512_inserti32x4(r[i], quarter(2), 2), quarter(3), 3);
    }
#pragma GCC unroll 4
    for (int64_t i = 0; i < kEight; i += 2) {
      s[i] = _mm512_unpacklo_epi16(r[i], r[i + 1]);
      s[i + 1] = _mm512_unpackhi_epi16(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int64_t i = 0; i < kEight; i += 4) {
      r[i] = _mm512_unpacklo_epi32(s[i], s[i + 2]);
      r[i + 1] = _mm512_unpackhi_epi32(s[i], s[i + 2]);
      r[i + 2] = _mm512_unpacklo_epi32(s[i + 1], s[i + 3]);
      r[i + 3] = _mm512_unpackhi_epi32(s[i + 1], s[i + 3]);
    }
#pragma GCC unroll 4
    for (int64_t i = 0; i < kEight / 2; ++i) {
      _mm512_store_si512(out + (line + 2 * i) * kStep, _mm512_unpacklo_epi64(r[i], r[i + 4]));
      _mm512_store_si512(out + (line + 2 * i + 1) * kStep, _mm512_unpackhi_epi64(r[i], r[i + 4]));
    }
  }
}

// Adds the product of a panel of a and a packed one of b to the sums; `beside` is called in every step. a's rows are
// a_stride numbers apart, its steps a_step. A panel of a meets one of b after the other: the first-level cache is to
// hold a's.
template <typename Beside>
void multiply_panels(const Bf16* a, int64_t a_stride, int64_t a_step, const Bf16* b, int64_t steps,
                     const Beside& beside) {
  const int64_t row_bytes = a_stride * sizeof(Bf16);
  for (int64_t s = 0; s < steps; ++s, a += a_step, b += kStepSize) {
    _tile_loadd(4, a, row_bytes);
    _tile_stream_loadd(6, b, kRowBytes);
    _tile_stream_loadd(7, b + kTileSize, kRowBytes);
    _tile_loadd(5, a + kTile * a_stride, row_bytes);
    multiply_tiles();
    beside();
  }
}

void load_sums(const float* from) {
  asm volatile("" : : : "memory");
  _tile_loadd(0, from, kPanel * sizeof(float));
  _tile_loadd(1, from + kTile, kPanel * sizeof(float));
  _tile_loadd(2, from + kTile * kPanel, kPanel * sizeof(float));
  _tile_loadd(3, from + kTile * kPanel + kTile, kPanel * sizeof(float));
}

// c = a·op(b) of bf16 numbers, whole panels of columns and steps, rows of a read where they lie.
class RowsProduct {
 public:
  RowsProduct(const Product& product, const Bf16* a, const Bf16* b, Bf16* c, bool passing)
      : p_(product),
        a_(a),
        b_(b),
        c_(c),
        passing_(passing && reinterpret_cast<uintptr_t>(c) % kRowBytes == 0 && p_.ldc % kStep == 0) {}

  void run() {
    configure_tiles();
    for (int64_t column = 0; column < p_.n; column += columns_) multiply(column, std::min(columns_, p_.n - column));
    write(kPanel);
    if (passing_) _mm_sfence();
    _tile_release();
  }

 private:
  static constexpr int64_t kPackedNumbers = 1024 * 512;  // of b, which stay in the second-level cache
  static constexpr int64_t kPartSteps = 16;              // of a panel of a, which the first-level cache holds

  struct Target {
    Bf16* to;
    int64_t rows;
  };

  void multiply(int64_t column, int64_t columns) {
    const int64_t panels = columns / kPanel, steps = p_.k / kStep, panel_size = steps * kStepSize;
    for (int64_t j = 0; j < panels; ++j) {
      for (int64_t s = 0; s < steps; ++s) {
        const int64_t line = column + j * kPanel, inner = s * kStep;
        Bf16* const out = packed_ + j * panel_size + s * kStepSize;
        if (p_.transpose_b) {
          pack_transposed({b_ + line * p_.ldb + inner, p_.ldb}, out);
        } else {
          pack_columns({b_ + inner * p_.ldb + line, p_.ldb}, out);
        }
      }
    }
    const int64_t fetched = share_of(p_.k, panels * steps);
    for (int64_t row = 0; row < p_.m; row += kPanel) {
      const Source rows = whole_panel(row);
      // The next rows come from memory while the tiles work.
      const int64_t next = std::min(row + kPanel, p_.m);
      fetching_ =
          Fetching(a_ + next * p_.lda, p_.lda * sizeof(Bf16), std::min(kPanel, p_.m - next), p_.k * sizeof(Bf16));
      for (int64_t step = 0; step < steps; step += kPartSteps) {
        const int64_t count = std::min(kPartSteps, steps - step), written = share_of(kPanel, count);
        for (int64_t j = 0; j < panels; ++j) {
          float* const sums = unfinished_ + j * kBlockSize;
          if (step == 0) {
            zero_sums();
          } else {
            load_sums(sums);
          }
          multiply_panels(rows.data + step * kStep, rows.stride, kStep, packed_ + j * panel_size + step * kStepSize,
                          count, [&] {
                            write(written);
                            fetching_.fetch(fetched);
                          });
          if (step + count < steps) {
            store_sums(sums);
          } else {
            finish({c_ + row * p_.ldc + column + j * kPanel, std::min(kPanel, p_.m - row)});
          }
        }
      }
    }
  }

  // Rows from `row` on, or a copy of the last ones with room for a panel.
  Source whole_panel(int64_t row) {
    if (p_.m - row >= kPanel) return {a_ + row * p_.lda, p_.lda};
    for (int64_t r = row; r < p_.m; ++r) std::copy_n(a_ + r * p_.lda, p_.k, last_rows_ + (r - row) * p_.k);
    return {last_rows_, p_.k};
  }

  // The block's sums leave the tiles; its rows are rounded and written while the tiles work on others.
  void finish(const Target& target) {
    write(kPanel);
    sums_.take();
    target_ = target;
    written_ = 0;
  }
  void write(int64_t count) {
    for (const int64_t end = std::min(target_.rows, written_ + count); written_ < end; ++written_) {
      const float* const sums = sums_.row(written_);
      const auto numbers =
          reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(_mm512_load_ps(sums + kTile), _mm512_load_ps(sums)));
      Bf16* const to = target_.to + written_ * p_.ldc;
      if (passing_) {
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to), numbers);
      } else {
        _mm512_storeu_si512(to, numbers);
        __builtin_prefetch(to + kPanel, 1);  // the next panel's place in this row
      }
    }
  }

  const Product p_;
  const Bf16* const a_;
  const Bf16* const b_;
  Bf16* const c_;
  const bool passing_;
  const int64_t columns_ = std::min(p_.n, std::max(kPanel, kPackedNumbers / p_.k / kPanel * kPanel));  // at a time
  Bf16* const packed_ = room<struct PackedColumnsOfB>(columns_ * p_.k);
  Bf16* const last_rows_ = room<struct LastRows>(kPanel * p_.k);
  // Sums of blocks of which a part of the inner dimension is still to come.
  float* const unfinished_ = reinterpret_cast<float*>(
      room<struct Unfinished>(p_.k > kPartSteps * kStep ? columns_ * kPanel * (sizeof(float) / sizeof(Bf16)) : 0));
  LatestSums sums_;
  Target target_{nullptr, 0};
  int64_t written_ = 0;
  Fetching fetching_;
};

// c (+)= aᵀ·b. Both are packed, a part of the inner dimension at a time, in the order in which memory has them.
class WeightGradient {
 public:
  WeightGradient(const Product& product, const Bf16* a, const Bf16* b, float* c) : p_(product), a_(a), b_(b), c_(c) {}

  void run() {
    configure_tiles();
    for (int64_t inner = 0; inner < p_.k; inner += kInner) {
      int64_t packed_column = -1;
      for (int64_t row = 0; row < p_.m; row += kLines) {
        pack(pack_rows, {a_, p_.lda}, p_.m, row, inner, packed_a_);
        for (int64_t column = 0; column < p_.n; column += kLines) {
          if (column != packed_column) pack(pack_columns, {b_, p_.ldb}, p_.n, column, inner, packed_b_);
          packed_column = column;
          multiply(row, column, inner);
        }
      }
    }
    outgoing_.write(kPanel);
    _tile_release();
  }

 private:
  // So many numbers of so many lines of an operand are packed at a time and stay in the second-level cache.
  static constexpr int64_t kLines = 512, kInner = 512;

  int64_t steps(int64_t inner) const { return share_of(std::min(kInner, p_.k - inner), kStep); }

  // Lines from `line` on and numbers from `inner` on; those that lack are zero.
  template <typename Pack>
  void pack(const Pack& pack_step, const Source& all, int64_t lines, int64_t line, int64_t inner, Bf16* out) const {
    const int64_t end = std::min(lines, line + kLines), count = steps(inner);
    for (int64_t s = 0; s < count; ++s, inner += kStep) {
      Bf16* to = out + s * kStepSize;
      for (int64_t l = line; l < end; l += kPanel, to += count * kStepSize) {
        const Source from{all.data + inner * all.stride + l, all.stride};
        const bool whole = l + kPanel <= end && inner + kStep <= p_.k;
        alignas(64) Bf16 padded[kStepSize];
        pack_step(whole ? from : padded_copy(from, end - l, p_.k - inner, padded), to);
      }
    }
  }

  static Source padded_copy(const Source& from, int64_t lines, int64_t inner_count, Bf16* copy) {
    const __mmask32 mask = lines >= kPanel ? 0xFFFFFFFF : (1u << lines) - 1;
    for (int64_t i = 0; i < kStep; ++i) {
      const __mmask32 present = i < inner_count ? mask : 0;
      _mm512_store_si512(copy + i * kPanel, _mm512_maskz_loadu_epi16(present, from.data + i * from.stride));
    }
    return {copy, kPanel};
  }

  void multiply(int64_t row, int64_t column, int64_t inner) {
    const int64_t rows = std::min(kLines, p_.m - row), columns = std::min(kLines, p_.n - column);
    const int64_t count = steps(inner), panel_size = count * kStepSize, written = share_of(kPanel, count);
    for (int64_t i = 0; i < rows; i += kPanel) {
      for (int64_t j = 0; j < columns; j += kPanel) {
        const Block block{c_ + (row + i) * p_.ldc + column + j, p_.ldc, std::min(kPanel, rows - i),
                          std::min(kPanel, columns - j), p_.accumulate || inner > 0};
        outgoing_.after = block.c;
        zero_sums();
        multiply_panels(packed_a_ + i / kPanel * panel_size, kStep, kStepSize, packed_b_ + j / kPanel * panel_size,
                        count, [&] { outgoing_.write(written); });
        outgoing_.take(block);
      }
    }
  }

  const Product p_;
  const Bf16* const a_;
  const Bf16* const b_;
  float* const c_;
  Bf16* const packed_a_ = room<struct PackedRowsOfA>(kLines * kInner);
  Bf16* const packed_b_ = room<struct PackedColumnsOfB>(kLines * kInner);
  Outgoing outgoing_;
};

}  // namespace

void amx_rows_product(const Product& product, const uint16_t* a, const uint16_t* b, uint16_t* c, bool passing) {
  RowsProduct(product, a, b, c, passing).run();
}

void amx_weight_gradient(const Product& product, const uint16_t* a, const uint16_t* b, float* c) {
  WeightGradient(product, a, b, c).run();
}

}  // namespace switchyard

#pragma GCC diagnostic pop
#pragma GCC pop_options
